"""The scenarios: each module of this folder registers its own by `@scenario(number, title, **settings)`."""
import importlib
import pkgutil
from dataclasses import dataclass

from configuration import Settings


@dataclass
class Scenario:
    number: object  # 1 to 24 as the issue counts them, else a short word.
    title: str
    settings: Settings
    action: object


REGISTERED = []


def scenario(number, title, **settings):
    """Registers a function of one argument, the lab. What it returns is shown beside the verdict."""

    def register(action):
        REGISTERED.append(Scenario(number, title, Settings(**settings), action))
        return action

    return register


def all_scenarios():
    """Every one, the numbered ones first and in order."""
    for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
    return sorted(REGISTERED, key=lambda s: (not isinstance(s.number, int), s.number if isinstance(s.number, int) else 0))
