"""Execute the notebooks, build the book, and send results from one machine to another.

``python -m lib.book run | build | open | times | where``
``python -m lib.book export | import results.json``
"""

import argparse
import sys

from . import build, execute, packs


def main(arguments: list[str] | None = None) -> None:
    """The command line; an input that is refused ends with its message instead of a traceback."""
    parser = argparse.ArgumentParser(prog="lib.book", description=__doc__.splitlines()[0])
    commands = ["run", "build", "open", "times", "where", "export", "import"]
    parser.add_argument("what", choices=commands)
    parser.add_argument("file", nargs="?", help="the results pack to export or import")
    parser.add_argument(
        "--model", help=f"name or folder, passed to every notebook (default: {execute.DEFAULT})"
    )
    parser.add_argument("--only", nargs="+", help="notebooks to consider")
    parser.add_argument("--jobs", type=int, help="how many are executed side by side")
    parser.add_argument(
        "--replace",
        action="store_true",
        help="import in place of the results that the model has here",
    )
    # a file may follow options
    given = parser.parse_intermixed_args(arguments)
    takes_file = given.what in ("export", "import")
    if takes_file != bool(given.file):
        parser.error(f"{given.what} takes {'the name of a file' if takes_file else 'no file'}")
    if given.what == "import" and given.model:
        parser.error("import takes no --model: a pack says which model it is about")
    try:
        _do(given)
    except (ValueError, FileNotFoundError, MemoryError) as error:
        sys.exit(f"{error}")


def _do(given):
    if given.what == "import":
        print(packs.keep(given.file, given.replace))
        print("'make book' shows them beside the others.")
        return
    model = execute.resolve(given.model or execute.DEFAULT)
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
    elif given.what == "export":
        print("The results are in", packs.export(model, given.file))
    else:
        print(execute.folder(model))


if __name__ == "__main__":
    main()
