"""What writes docs/commands.md, which is no module of a package."""

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("make_commands", Path(__file__).parents[1] / "docs" / "make_commands.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
PAGE, commands, help_of, page = _MODULE.PAGE, _MODULE.commands, _MODULE.help_of, _MODULE.page
