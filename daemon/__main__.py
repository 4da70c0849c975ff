"""``python -m daemon`` is the same program as ``tunerd``."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
