"""The house rules as data: which folder may include what, and what is banned with its replacement.

docs/architecture.md explains the arrows. tidy.py applies this file; tidy_test.py proves that each
rule can fail.
"""

# Our own headers: folder -> prefixes it may include. The longest matching folder counts; its own
# folder and storage/base are always allowed.
OWN = {
    "storage/base": [],
    "storage": ["storage/"],
    "storage/views": ["storage/"],
    "collector/reactor": [],
    "collector/http": ["collector/reactor/"],
    "collector/event": [],
    "collector/protocols": ["collector/event/", "collector/http/"],
    "collector/admin": ["storage/", "forwarder/forwarder.h", "forwarder/leases.h", "forwarder/seek_target.h",
                        "collector/http/", "collector/reactor/", "collector/event/json_value.h",
                        "collector/json_writer.h", "collector/tap.h"],
    "collector/pull": ["storage/", "forwarder/compression.h", "forwarder/leases.h", "collector/http/",
                       "collector/event/json_value.h", "collector/admin/", "collector/json_writer.h"],
    # The option structs of every component, never their working parts.
    "collector/options": ["collector/admin/access.h", "collector/event/", "collector/http/", "forwarder/forwarder.h", "forwarder/leases.h",
                          "storage/"],
    # Configuration, data directories, and clients of the admin listener.
    "collector/cli": ["collector/options/", "collector/json_writer.h", "collector/version.h",
                      "collector/metric_docs.h", "storage/"],
    # The table of options names every component's own options.
    "collector/options": ["storage/", "forwarder/forwarder.h", "forwarder/leases.h", "collector/event/",
                          "collector/http/", "collector/reactor/limits.h",
                          "collector/admin/access.h"],
    # The verbs: serve puts everything together, the others are clients and tools.
    "collector/cli": ["storage/", "forwarder/forwarder.h", "collector/"],
    # The ingest order: everything a request passes, nothing that happens after its commit.
    "collector": ["storage/", "collector/reactor/", "collector/http/", "collector/event/",
                  "collector/protocols/"],
    "forwarder": ["storage/"],
    "tests": [""],
    "bench": [""],
    "tools": [""],
}

# Files that see more than their folder does, each with its reason.
OWN_FILES = {
    # The composition root: puts the parts together and takes them apart.
    "collector/main.cc": [""],
    "collector/serve.h": [""],
    "collector/serve.cc": [""],
    "collector/server.h": [""],
    "collector/server.cc": [""],
    # What of a configuration only the components, or a running server, can judge.
    "collector/component_check.h": ["collector/"],
    "collector/component_check.cc": ["collector/"],
    "collector/reload.h": ["collector/"],
    "collector/reload.cc": ["collector/"],
}

# A folder that is inside another's prefix but not meant by it.
NEVER = {
    "storage": ["storage/views/"],       # the log does not know its readers
    "forwarder": ["storage/views/"],
}

# Third-party headers: prefix of the include -> the only folders that may use it (tests, bench and
# tools are free). Anything in <> that is neither here nor a standard or system header is an error.
THIRD_PARTY = {
    "xxhash.h": ["storage/base"],
    "lmdb.h": ["storage"],
    "liburing.h": ["collector/reactor"],
    "liburing/": ["collector/reactor"],
    "llhttp.h": ["collector/http"],
    "simdjson.h": ["collector/event"],
    "curl/": ["forwarder/destinations", "collector/cli"],
    "librdkafka/": ["forwarder/destinations"],
    "hiredis/": ["forwarder/destinations"],
    "libpq-fe.h": ["forwarder/destinations"],
    "libdeflate.h": ["collector/http", "forwarder"],
    "zstd.h": ["collector/http", "forwarder"],
    "zlib.h": ["collector/http", "forwarder"],
    "openssl/": ["forwarder", "collector/admin"],
    "toml++/": ["collector/options"],
    "CLI/": ["collector/cli"],
    "prometheus/": ["collector/admin"],
    "fmt/": ["storage", "collector", "forwarder"],
    "tl/expected.hpp": ["storage/base"],
}

# Standard and system headers need no permission.
SYSTEM_PREFIXES = ("sys/", "linux/", "netinet/", "arpa/", "net/", "bits/", "asm/", "sanitizer/")
SYSTEM_HEADERS = {
    "dirent.h", "dlfcn.h", "errno.h", "fcntl.h", "grp.h", "ifaddrs.h", "netdb.h", "poll.h",
    "pthread.h", "pwd.h", "sched.h", "signal.h", "spawn.h", "stdint.h", "stdio.h", "stdlib.h",
    "string.h", "syslog.h", "termios.h", "time.h", "unistd.h", "malloc.h", "math.h", "limits.h",
    "stddef.h", "ucontext.h", "execinfo.h", "immintrin.h", "emmintrin.h", "endian.h", "getopt.h", "semaphore.h",
    "strings.h", "wait.h", "stdarg.h", "stdbool.h", "inttypes.h", "ctype.h", "sysexits.h",
}

# (regular expression on code without comments and strings, folders or () for all of ours, what to
# use instead).
BANNED = [
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok)\s*\(", (), "fmt::format, std::string"),
    (r"\b(atoi|atol|atoll|atof|strtol|strtoul|strtoll|strtoull)\s*\(", (), "std::from_chars"),
    (r"\b(std::|(?<![\w.>:]))s?rand\s*\(", (), "storage/base/ids.h, <random>"),
    (r"\b(localtime|gmtime|asctime|ctime)\s*\(", (), "storage/base/clock.h"),
    (r"\bassert\s*\(", (), "WEIR_CHECK (stays on in release builds)"),
    (r"\busing\s+namespace\s+std\b", (), "the qualified name"),
    (r"\bstd::(cout|cerr|clog|endl)\b", ("storage", "forwarder", "collector/reactor",
     "collector/http", "collector/event", "collector/protocols"), "storage/base/log.h"),
    (r"\.detach\s*\(\s*\)", (), "join the thread in its owner's stop()"),
    (r"\bvolatile\b", (), "std::atomic"),
    (r"\bthrow\b", (), "Result or WEIR_CHECK: no exceptions across our interfaces"),
    (r"\b(dynamic_cast|typeid)\b", (), "a virtual function (built without RTTI)"),
    (r"\bstd::(mutex|shared_mutex|recursive_mutex|lock_guard|unique_lock|scoped_lock)\b",
     ("collector/reactor", "collector/http", "collector/event", "collector/protocols"),
     "a mailbox and a wake-up: nothing on the ingest path locks"),
    (r"\bMDB_(NOSYNC|NOMETASYNC|MAPASYNC|WRITEMAP)\b", ("storage",),
     "LMDB's default mode: these lose acknowledged commits or die on a full disk"),
    (r"\bsleep(_for|_until)?\s*\(", ("collector/reactor", "collector/http", "collector/event",
     "collector/protocols"), "the loop's timers"),
    (r"\bstd::system\s*\(|\bpopen\s*\(", (), "posix_spawn with an argument list"),
]

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
# A ratchet: a file here may not grow past its number; shrink it and lower the number.
FILE_LINES = {}
FUNCTION_LINES = {}
