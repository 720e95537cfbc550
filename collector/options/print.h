// The configuration as text: TOML for `config print`, markdown for docs/configuration.md, roff for
// the manual.
#pragma once

#include <string>
#include <string_view>

#include "collector/options/options.h"

namespace weir::options {

// Every option with its comment, unit, default and effective value; valid TOML that loads to the
// same options (secrets excepted unless show_secrets: they are replaced by a comment).
std::string print_toml(const Options& options, bool show_secrets);
// {"store.max_bytes":{"value":…,"default":…,"origin":…},…}; secrets as "(secret)".
std::string print_json(const Options& options);
// docs/configuration.md
std::string configuration_docs();
// The manual page weir.toml(5).
std::string configuration_man(std::string_view version);

}  // namespace weir::options
