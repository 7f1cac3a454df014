"""python3 -m judge [--notes] DIRECTORY...: prints the findings; exits 1 if there are any, 2 on wrong usage."""
import sys
from pathlib import Path

from . import judge


def main(words):
    notes = "--notes" in words
    directories = [Path(word) for word in words if word != "--notes"]
    if not directories or any(word.startswith("-") for word in words if word != "--notes"):
        print("usage: python3 -m judge [--notes] DIRECTORY...", file=sys.stderr)
        return 2
    broken = False
    for directory in directories:
        verdict = judge(directory)
        broken |= bool(verdict)
        found = f"{len(verdict.findings)} finding(s), {len(verdict.notes)} note(s)"
        print(f"{directory}: {found if verdict.findings or verdict.notes else 'nothing found'}")
        for finding in verdict.findings:
            print(f"  {finding}")
        for note in verdict.notes if notes else ():
            print(f"  note: {note}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
