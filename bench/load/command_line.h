// The options of weir-bench: declared for CLI11, checked, turned into LoadOptions.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bench/load/fail_if.h"
#include "bench/load/load_options.h"
#include "bench/load/run.h"
#include "bench/load/verify.h"

namespace weir::bench {

struct CommandLine {
  // As CLI11 fills it.
  std::string url;
  std::vector<std::string> mix;
  std::string event_bytes = "400";
  std::string duration = "10s";
  std::string warmup = "1s";
  std::string ramp = "0";
  std::string duplicates;
  std::string malformed;
  std::string compress = "none";
  std::vector<std::string> fail_if;
  bool gzip = false;
  bool list_shapes = false;
  bool live = false;
  bool no_live = false;
  std::string json_file;
  std::string html_file;

  // Filled in part by CLI11, in part by complete().
  LoadOptions load;
  RunSettings settings;
  VerifySettings verify;
  std::vector<FailRule> rules;
};

void declare(CLI::App& app, CommandLine& line);

// Checks and converts what was read. terminal: standard error is one.
Status complete(CommandLine& line, bool terminal);

// Exposed for tests. "90", "90s", "10m", "8h", "500ms".
bool parse_duration_ms(const std::string& text, int64_t* ms);
// "0.05" or "5%".
bool parse_share(const std::string& text, double* share);
// "100", "100:2.5", "1x16000:5": batch size, bytes of an event, weight. default_bytes may be a
// range "200-16000": then sizes are spread over it, as many small as large ones.
bool parse_mix(const std::vector<std::string>& texts, const std::string& default_bytes,
               std::vector<MixEntry>* mix);

std::string shapes_text();

}  // namespace weir::bench
