"""`rag config …`: every setting, and where its value comes from."""

from dataclasses import fields
from typing import Any

import rag.cli.flags as flags
from rag.cli.common import console, new_app, print_json

app = new_app("Show the settings, and where each comes from.\n\nExample: rag config show", no_args_is_help=True)


@app.command()
def show(
    kb: flags.Kb = None,
    model: flags.ChatModel = None,
    ttl: flags.Ttl = None,
    download: flags.Download = None,
    json: flags.Json = False,
) -> None:
    """Show every setting: its value, its unit, and whether an option, a variable, the file or the default says so.

    Secrets are shown as stars.

    Example: rag config show --kb notes.kb
    """
    from rag.display import print_table
    from rag.settings import config_path, traced_settings

    rows = _rows(*traced_settings(kb=kb, chat_model=model, ttl_s=ttl, download=download))
    path = config_path()
    if json:
        print_json({"file": str(path), "exists": path.is_file(), "settings": rows})
        return
    shown = ((row["name"], _told(row["value"]), row["unit"], row["from"], row["about"]) for row in rows)
    print_table(console(), ("setting", "value", "unit", "from", ""), shown)


def _rows(settings: Any, origins: dict[str, str]) -> list[dict[str, Any]]:
    """The shape of a setting in `rag config show --json`, which scripts may rely on."""
    from rag.settings import ENVIRONMENT, shown

    return [
        {
            "name": field.name,
            "value": value if value is None or isinstance(value, int | float) else str(value),
            "unit": field.metadata["unit"],
            "from": origins.get(field.name, "default"),
            "variables": ENVIRONMENT[field.name],
            "about": field.metadata["about"],
        }
        for field in fields(settings)
        for value in [shown(settings, field.name)]
    ]


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else str(value)


@app.command()
def path(json: flags.Json = False) -> None:
    """Print where the config file is looked for, whether or not it is there.

    Example: rag config path
    """
    from rag.settings import config_path

    found = config_path()
    if json:
        print_json({"file": str(found), "exists": found.is_file()})
    else:
        print(found)
