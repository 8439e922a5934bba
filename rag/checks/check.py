"""A check as a value: what is well, what is not, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How a check ended: well; with something to know or to mend; with something that must be mended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `remedy` is what to do, its commands in backticks, empty where nothing is to be done."""

    name: str
    severity: Severity
    message: str
    remedy: str = ""

    @property
    def failed(self) -> bool:
        """Whether something must be mended."""
        return self.severity is Severity.FAIL


def ok(name: str, message: str, remedy: str = "") -> Check:
    """Well; a remedy says what more could be had."""
    return Check(name, Severity.OK, message, remedy)


def warn(name: str, message: str, remedy: str) -> Check:
    """It works, and not as well as it could."""
    return Check(name, Severity.WARN, message, remedy)


def fail(name: str, message: str, remedy: str) -> Check:
    """It does not work."""
    return Check(name, Severity.FAIL, message, remedy)
