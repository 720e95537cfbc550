"""Each rule of tidy.py finds what it is for: a check that cannot fail is no check."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy  # noqa: E402


def found(check, path, text):
    return [what for _, what in check(path, text)]


class Includes(unittest.TestCase):
    def test_a_wrong_arrow_is_found(self):
        for path, header in (("storage/writer.cc", '"collector/http/server.h"'),
                             ("storage/base/log.h", '"storage/store.h"'),
                             ("storage/store.h", '"storage/views/view.h"'),
                             ("collector/reactor/loop.cc", '"collector/http/server.h"'),
                             ("collector/event/parser.cc", '"storage/store.h"'),
                             ("collector/admin/stats.cc", '"forwarder/lane.h"'),
                             ("collector/pipeline.cc", '"forwarder/forwarder.h"'),
                             ("collector/pipeline.cc", '"collector/admin/stats.h"'),
                             ("forwarder/forwarder.cc", '"collector/http/server.h"'),
                             ("storage/writer.cc", '"writer.h"'),
                             ("collector/event/parser.cc", "<lmdb.h>"),
                             ("collector/http/connection.cc", "<simdjson.h>"),
                             ("storage/writer.cc", "<boost/asio.hpp>")):
            self.assertTrue(found(tidy.include_problems, path, f"#include {header}\n"), (path, header))

    def test_the_allowed_arrows_pass(self):
        for path, header in (("storage/writer.cc", '"storage/base/log.h"'),
                             ("storage/writer.cc", "<lmdb.h>"),
                             ("collector/admin/stats.cc", '"forwarder/forwarder.h"'),
                             ("collector/main.cc", '"forwarder/lane.h"'),
                             ("tests/storage/writer_test.cc", "<gtest/gtest.h>"),
                             ("collector/reactor/ring.cc", "<sys/socket.h>"),
                             ("collector/reactor/ring.cc", "<vector>")):
            self.assertFalse(found(tidy.include_problems, path, f"#include {header}\n"), (path, header))


class Code(unittest.TestCase):
    def test_banned_names_are_found_in_code_only(self):
        self.assertTrue(found(tidy.banned_problems, "storage/a.cc", "int x = atoi(y);\n"))
        self.assertTrue(found(tidy.banned_problems, "collector/http/a.cc", "std::mutex m;\n"))
        self.assertFalse(found(tidy.banned_problems, "storage/a.cc", "std::mutex m;\n"))
        self.assertFalse(found(tidy.banned_problems, "storage/a.cc", '// atoi(x)\nauto s = "atoi(x)";\n'))

    def test_long_files_and_functions_are_found(self):
        self.assertTrue(found(tidy.length_problems, "storage/a.cc", "// x\n" * 601))
        body = "void f() {\n" + "  x();\n" * 70 + "}\n"
        self.assertTrue(found(tidy.length_problems, "storage/a.cc", body))
        self.assertFalse(found(tidy.length_problems, "storage/a.cc", "void f() {\n  x();\n}\n"))

    def test_a_file_without_opening_comment_is_found(self):
        self.assertTrue(found(tidy.anatomy_problems, "storage/a.h", "#pragma once\n"))
        self.assertTrue(found(tidy.anatomy_problems, "storage/a.h", "// What.\nint x;\n"))

    def test_documents_nobody_would_find_are_found(self):
        files = ["docs/a.md", "docs/b.md", "docs/api.yaml", "docs/decisions/README.md", "docs/decisions/0001.md"]
        self.assertEqual(tidy.unlisted("[a](docs/a.md)", files), ["docs/b.md", "docs/api.yaml", "docs/decisions/README.md"])
        self.assertEqual(tidy.anchors("# The `x`, again\n## file and stdout\n"), {"the-x-again", "file-and-stdout"})

    def test_unfinished_and_foreign_text_is_found(self):
        self.assertTrue(found(tidy.text_problems, "docs/a.md", "TO" "DO: later\n"))
        self.assertTrue(found(tidy.text_problems, "docs/a.md", "see ../" "shared/x.md\n"))
        self.assertTrue(found(tidy.lock_problems, "a/package-lock.json", '"resolved": "https://x"\n'))


if __name__ == "__main__":
    unittest.main()
