"""Execute the notebooks and build the book.

``python -m lib.book run | build | open | times | where``
"""

import argparse
import sys

from . import build, execute


def main(arguments: list[str] | None = None) -> None:
    """The command line; an input that is refused ends with its message instead of a traceback."""
    parser = argparse.ArgumentParser(prog="lib.book", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "build", "open", "times", "where"])
    parser.add_argument(
        "--model", default=execute.DEFAULT, help="name or folder, passed to every notebook"
    )
    parser.add_argument("--only", nargs="*", help="notebooks to consider")
    parser.add_argument("--jobs", type=int, help="how many are executed side by side")
    given = parser.parse_args(arguments)
    try:
        _do(given)
    except (ValueError, FileNotFoundError, MemoryError) as error:
        sys.exit(f"{error}")


def _do(given):
    model = execute.resolve(given.model)
    if given.what == "run":
        executed = execute.run(model, given.only, jobs=given.jobs)
        print("executed:", ", ".join(executed) or "nothing has changed")
    elif given.what == "build":
        built = build.pages(execute.folder(model), build.folder(model))
        print("The book is at", built / "index.html")
    elif given.what == "open":
        build.show(build.folder(model))
    elif given.what == "times":
        for seconds, name, line in execute.times(execute.folder(model)):
            print(f"{seconds:6.1f} s  {name}: {line}")
    else:
        print(execute.folder(model))


if __name__ == "__main__":
    main()
