"""Take the pictures out of a report's page, as files of their own:

    gossipsync sim run partition-heal --report heal.html
    python sims/pictures.py heal.html docs/simulation/partition-heal

writes docs/simulation/partition-heal-spread.svg, …-bytes.svg, …-staleness.svg, …-lag.svg and …-links.svg.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

SECTION = re.compile(r"<section><h2>(\w+)[^<]*</h2>\s*<figure>(<svg.*?</svg>)", re.DOTALL)


def main() -> None:
    """Write one file for each picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("prefix", help="where to, and how the names begin")
    parser.add_argument("--only", default="", help="headings, as in Staleness,Lag")
    given = parser.parse_args()
    wanted = {name.lower() for name in given.only.split(",") if name}
    for heading, svg in SECTION.findall(given.page.read_text(encoding="utf-8")):
        name = heading.lower()
        if not wanted or name in wanted:
            path = Path(f"{given.prefix}-{name}.svg")
            path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{svg}\n', encoding="utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
