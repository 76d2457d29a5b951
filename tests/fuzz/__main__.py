"""Fuzz the parsers: `python -m fuzz [PARSER] [SECONDS]` with tests/ on the path; without a parser all, in turn.

Inputs grow from the valid files of `hostile.PARSERS` by whatever reaches new lines of fsar_cli, and each is judged by
the parser's oracle there. It needs atheris, which `make fuzz` installs. What breaks the law stays as a file in
FSAR_FOUND (else in the system's temporary folder), to be kept as bytes in a test.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

SECONDS = 60
SLOW, MOST_MEMORY = 30, 4096
"""Seconds that an input may take, and MiB of the process, torch included."""


def fuzz(name: str, seconds: int, found: Path) -> None:
    """Fuzz one parser in this process, which libFuzzer ends."""
    import atheris

    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["fsar_cli"]):
        import hostile
    parser = hostile.PARSERS[name]

    def one(data: bytes) -> None:
        with contextlib.redirect_stdout(None):
            hostile.check(name, data)

    with tempfile.TemporaryDirectory(prefix="fsar-fuzz-") as folder:
        seeds, words = Path(folder) / "seeds", Path(folder) / "words"
        seeds.mkdir()
        for number, data in enumerate(hostile.seeds_of(name)):
            (seeds / str(number)).write_bytes(data)
        lines = ("".join(rf"\x{byte:02x}" for byte in word) for word in parser.words)
        words.write_text("".join(f'"{line}"\n' for line in lines))
        options = {"max_total_time": seconds, "max_len": parser.longest, "timeout": SLOW, "rss_limit_mb": MOST_MEMORY,
                   "dict": words, "artifact_prefix": f"{found}/{name}-", "print_final_stats": 1}  # fmt: skip
        atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(seeds)], one)
        atheris.Fuzz()


def run(name: str, seconds: int, found: Path) -> bool:
    """Fuzz one parser in a process of its own, print a line about it, and say whether the law held."""
    command = [sys.executable, "-m", "fuzz", name, str(seconds), "--here"]
    log = subprocess.run(
        command, env=os.environ | {"FSAR_FOUND": str(found)}, capture_output=True, text=True, errors="replace"
    )
    said = log.stdout + log.stderr
    tries = int((re.findall(r"number_of_executed_units:\s*(\d+)", said) or re.findall(r"#(\d+)", said) or ["0"])[-1])
    edges = (re.findall(r"cov: (\d+)", said) or ["0"])[-1]
    broken = re.findall(r"Broken: (.{1,200})", said) or re.findall(r"ERROR: libFuzzer: (.{1,200})", said)
    figures = f"{tries:9} executions {tries / seconds:8.0f}/s {int(edges):6} edges"
    print(f"{name:18} {figures}  {broken[0] if broken else 'nothing'}", flush=True)
    if log.returncode and not broken:
        print(said[-2000:])
    return not log.returncode


def main() -> int:
    """The exit code: 1 where something was found."""
    words = sys.argv[1:]
    seconds = next((int(word) for word in words if word.isdecimal()), SECONDS)
    chosen = [word for word in words if not word.isdecimal() and not word.startswith("-")]
    found = Path(os.environ.get("FSAR_FOUND") or tempfile.mkdtemp(prefix="fsar-found-"))
    found.mkdir(parents=True, exist_ok=True)
    if "--here" in words:
        fuzz(chosen[0], seconds, found)
        return 0
    if not chosen:
        import hostile

        chosen = list(hostile.PARSERS)
    return int(not all([run(name, seconds, found) for name in chosen]))


if __name__ == "__main__":
    sys.exit(main())
