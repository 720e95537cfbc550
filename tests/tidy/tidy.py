#!/usr/bin/python3
"""Checks the house rules that a compiler does not: see rules.py. tests/tidy/tidy.py [rule…]

Prints each violation as file:line: what, what instead; then one line "N passed, N failed, N skipped"
where each rule is one test. Fast rules always run; clang-tidy runs within --budget seconds and
remembers what it found clean (build/tidy-cache).
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rules  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = ("storage/", "collector/", "forwarder/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Skip(Exception):
    """The rule cannot be checked here; the text says why."""


def tracked():
    """Every file of the tree that git knows or would add."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    return sorted(p for p in out.splitlines() if os.path.isfile(os.path.join(ROOT, p)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def is_cpp(path):
    return path.endswith((".h", ".cc"))


def folder_of(path, table):
    """The longest folder of the table that holds the path."""
    best = ""
    for folder in table:
        if path.startswith(folder + "/") and len(folder) > len(best):
            best = folder
    return best


def include_problems(path, text):
    """The arrows between folders, read from the #include lines."""
    folder = folder_of(path, rules.OWN)
    if not folder:
        return
    allowed = rules.OWN_FILES.get(path, rules.OWN[folder] + ["storage/base/"])
    never = [] if path in rules.OWN_FILES else rules.NEVER.get(folder, [])
    free = folder in ("tests", "bench", "tools")
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        kind, header = found.groups()
        if kind == '"':
            if not header.startswith(("storage/", "collector/", "forwarder/", "tests/", "bench/")):
                yield number, f'"{header}": write the path from the root of the tree'
            elif header.startswith(("tests/", "bench/")) and not free:
                yield number, f'{folder}/ must not include "{header}"'
            elif folder_of(header, rules.OWN) == folder:
                continue
            elif not any(header.startswith(p) for p in allowed) or \
                    any(header.startswith(p) for p in never):
                yield number, f'{folder}/ must not include "{header}" (docs/architecture.md)'
            continue
        if free or header.startswith(rules.SYSTEM_PREFIXES) or header in rules.SYSTEM_HEADERS \
                or ("/" not in header and "." not in header):
            continue
        owners = [w for p, w in rules.THIRD_PARTY.items() if header.startswith(p)]
        if not owners:
            yield number, f"<{header}>: name its owner in tests/tidy/rules.py"
        elif not any(path.startswith(w + "/") for w in owners[0]):
            yield number, f"<{header}> belongs to {', '.join(owners[0])} alone"


def without_comments_and_strings(text):
    """The same lines with comments and literals blanked, so that rules see code only."""
    pattern = re.compile(r'R"(\w*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'
                         r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'", re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def banned_problems(path, text):
    code = without_comments_and_strings(text).splitlines()
    original = text.splitlines()
    for pattern, folders, instead in rules.BANNED:
        if not path.startswith(OURS) or (folders and not any(
                path.startswith(f + "/") for f in folders)):
            continue
        for number, line in enumerate(code, 1):
            found = re.search(pattern, line)
            if found and "tidy: allow" not in original[number - 1]:
                yield number, f"{found.group().strip()}: use {instead}"


def length_problems(path, text):
    lines = text.splitlines()
    limit = rules.FILE_LINES.get(path, rules.MAX_FILE_LINES)
    if len(lines) > limit:
        yield 1, f"{len(lines)} lines, at most {limit}: split it"
    if not path.startswith(OURS):
        return
    start = None
    for number, line in enumerate(lines, 1):
        if start is None:
            opens = line[:1] not in ("", " ", "}", "#", "/", "\t") and line.endswith("{")
            if opens and not re.match(r"(inline )?(namespace|class|struct|enum|union|extern)\b", line):
                start = number
        elif line.startswith("}"):
            length = number - start + 1
            if line == "}" and length > rules.FUNCTION_LINES.get(f"{path}:{start}",
                                                                rules.MAX_FUNCTION_LINES):
                yield start, f"function of {length} lines, at most {rules.MAX_FUNCTION_LINES}"
            start = None


def anatomy_problems(path, text):
    lines = text.splitlines()
    # An implementation file and a test file are introduced by the header they belong to.
    introduced = path.startswith("tests/") or (
        path.endswith(".cc") and os.path.exists(os.path.join(ROOT, path[:-3] + ".h")))
    if not introduced and (not lines or not lines[0].startswith("//")):
        yield 1, "open the file with a comment: what it does, thread, invariants"
    if path.endswith(".h") and "#pragma once" not in text:
        yield 1, "#pragma once is missing"
    if path.endswith(".cc") and path.startswith(OURS):
        own = path[:-3] + ".h"
        includes = [m.group(2) for m in map(INCLUDE.match, lines) if m]
        if os.path.exists(os.path.join(ROOT, own)) and includes and includes[0] != own:
            yield 1, f'include the own header "{own}" first'


UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X:"]))
OUTSIDE = re.compile("|".join([r"\.\./" + "shared", "/wo" + "rk/", "work" + "tree", r"\bissue" + r" \d"]))


def text_problems(path, text):
    if path == "LICENSE" or path.endswith("package-lock.json"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED.search(line):
            yield number, "unfinished: finish it or file it"
        if OUTSIDE.search(line):
            yield number, "refers to something outside the tree"
        if is_cpp(path) and line != line.rstrip():
            yield number, "white space at the end of the line"


def lock_problems(path, text):
    if not path.endswith("package-lock.json"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if '"resolved": "http' in line:
            yield number, "records a download address: npm install with omit-lockfile-registry-resolved"


def per_file(check, wanted):
    def rule(files, _options):
        for path in files:
            if wanted(path):
                for number, what in check(path, read(path)):
                    yield f"{path}:{number}: {what}"
    return rule


def folders_have_readmes(files, _options):
    """Each folder of the architecture says what it is for and what it must not know."""
    for folder in sorted({os.path.dirname(p) for p in files if is_cpp(p) and p.startswith(OURS)}):
        if f"{folder}/README.md" not in files:
            yield f"{folder}/README.md: missing (purpose, main types, invariants, what it must not know)"


def anchors(text):
    """What a link may name behind '#': the headings, as GitHub writes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ +(.*?)\s*$", text, re.M)}


def unlisted(readme, files):
    """Documents to which README.md has no link: nobody would find them."""
    documents = [p for p in files if re.fullmatch(r"docs/[^/]+\.(md|yaml)|docs/[^/]+/README\.md", p)]
    return [p for p in documents if f"]({p})" not in readme]


def links_resolve(files, _options):
    """Every relative link in a Markdown file leads somewhere, and README.md to every document."""
    for path in unlisted(read("README.md"), files):
        yield f"README.md: names no {path}"
    for path in files:
        if not path.endswith(".md"):
            continue
        for number, line in enumerate(read(path).splitlines(), 1):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:|/", target):
                    continue
                full = os.path.normpath(os.path.join(ROOT, os.path.dirname(path), target.split("#")[0] or os.path.basename(path)))
                if not os.path.exists(full):
                    yield f"{path}:{number}: link to {target} leads nowhere"
                elif "#" in target and full.endswith(".md") and target.split("#")[1] not in anchors(read(full)):
                    yield f"{path}:{number}: link to {target}: there is no such heading"


def sources_are_built(files, _options):
    """Every .cc is named by a CMakeLists.txt in its folder or above, so none is forgotten."""
    for path in files:
        if not path.endswith(".cc"):
            continue
        folder, name = os.path.split(path)
        while True:
            listing = f"{folder}/CMakeLists.txt" if folder else "CMakeLists.txt"
            relative = os.path.relpath(path, folder or ".")
            if listing in files:
                text = read(listing)
                if re.search(r"(?<![\w/])" + re.escape(relative) + r"(?!\w)", text) or \
                        re.search(r"\b" + re.escape(name[:-3]) + r"\b", text):
                    break
            if not folder:
                yield f"{path}: no CMakeLists.txt names it"
                break
            folder = os.path.dirname(folder)


def generated_docs_fresh(files, options):
    """docs/configuration.md and docs/metrics.md are what the binary prints."""
    binary = options.weir
    if not binary or not os.path.exists(binary):
        raise Skip("needs a built weir (--weir)")
    for path, arguments in (("docs/configuration.md", ["config", "print", "--markdown"]),
                            ("docs/metrics.md", ["config", "metrics", "--markdown"])):
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            yield f"{path}: weir {' '.join(arguments)}: {done.stderr.strip()[:200]}"
        elif path not in files:
            yield f"{path}: missing; weir {' '.join(arguments)} > {path}"
        elif read(path) != done.stdout:
            yield f"{path}: stale; weir {' '.join(arguments)} > {path}"


def formatted(files, _options):
    """clang-format 14 would change nothing (other versions format differently: skipped)."""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        raise Skip("clang-format is not installed")
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    if " 14." not in version:
        raise Skip("clang-format 14 is not installed")
    cpp = [p for p in files if is_cpp(p)]
    for at in range(0, len(cpp), 50):
        done = subprocess.run([tool, "--dry-run", "-Werror", *cpp[at:at + 50]], cwd=ROOT,
                              capture_output=True, text=True)
        for path in sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", done.stderr, re.M))):
            yield f"{path}: run clang-format -i on it"


def header_closure(path, seen):
    """The file and every header of ours it includes: what a clang-tidy verdict depends on."""
    if path in seen or not os.path.exists(os.path.join(ROOT, path)):
        return seen
    seen.add(path)
    for line in read(path).splitlines():
        found = INCLUDE.match(line)
        if found and found.group(1) == '"':
            header_closure(found.group(2), seen)
    return seen


def clang_tidy(files, options):
    """clang-tidy with the checks of .clang-tidy; what was clean and has not changed is not repeated."""
    tool = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    database = os.path.join(ROOT, "build", "dev", "compile_commands.json")
    if not tool or not os.path.exists(database):
        raise Skip("needs clang-tidy and build/dev/compile_commands.json")
    with open(database, encoding="utf-8") as f:
        compiled = {os.path.relpath(e["file"], ROOT) for e in json.load(f)}
    cache = os.path.join(ROOT, "build", "tidy-cache")
    os.makedirs(cache, exist_ok=True)
    work = []
    for path in files:
        if not path.endswith(".cc") or path not in compiled or not path.startswith(OURS):
            continue
        digest = hashlib.sha256(read(".clang-tidy").encode())
        for part in sorted(header_closure(path, set())):
            digest.update(part.encode() + b"\0" + read(part).encode())
        stamp = os.path.join(cache, digest.hexdigest())
        if not os.path.exists(stamp):
            work.append((path, stamp))
    deadline = time.monotonic() + options.budget

    def one(item):
        path, stamp = item
        if time.monotonic() > deadline:
            return path, None
        done = subprocess.run([tool, "-p", os.path.dirname(database), "--quiet",
                               "--extra-arg=-Wno-unknown-warning-option", path], cwd=ROOT,
                              capture_output=True, text=True)
        if done.returncode == 0:
            with open(stamp, "w", encoding="utf-8"):
                pass
            return path, ""
        return path, done.stdout.strip() or done.stderr.strip()

    late = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for path, output in pool.map(one, work):
            if output is None:
                late += 1
            elif output:
                yield f"{path}: clang-tidy\n{output[:3000]}"
    if late:
        print(f"  clang-tidy: {late} of {len(work)} files not reached within {options.budget} s")


def ours(path):
    return is_cpp(path) and path.startswith(OURS)


def all_cpp(path):
    return is_cpp(path)


RULES = {
    "includes": per_file(include_problems, all_cpp),
    "banned": per_file(banned_problems, ours),
    "lengths": per_file(length_problems, all_cpp),
    "anatomy": per_file(anatomy_problems, all_cpp),
    "text": per_file(text_problems, lambda p: not p.endswith((".gif", ".png", ".gz", ".bin", ".zst"))
                     and "/corpus/" not in p),
    "locks": per_file(lock_problems, lambda p: p.endswith(".json")),
    "readmes": folders_have_readmes,
    "links": links_resolve,
    "built": sources_are_built,
    "format": formatted,
    "generated": generated_docs_fresh,
    "clang-tidy": clang_tidy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rules", nargs="*", help=f"of: {' '.join(RULES)}")
    parser.add_argument("--weir", help="the binary whose tables the generated documents must match")
    parser.add_argument("--budget", type=int, default=180, help="seconds for clang-tidy")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    unknown = [r for r in options.rules if r not in RULES]
    if unknown:
        parser.error(f"no rule {unknown[0]}; there are {' '.join(RULES)}")
    files = tracked()
    passed = failed = skipped = 0
    for name in options.rules or RULES:
        try:
            problems = list(RULES[name](files, options))
        except Skip as reason:
            print(f"skip {name}: {reason}")
            skipped += 1
            continue
        for problem in problems:
            print(problem)
        print(f"{'FAIL' if problems else 'ok  '} {name}" + (f": {len(problems)}" if problems else ""),
              flush=True)
        passed += not problems
        failed += bool(problems)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
