// The table itself is sound: names are unique, defaults parse and lie within their limits.
#include "collector/options/table.h"

#include <gtest/gtest.h>

#include <set>

namespace weir::options {
namespace {

TEST(OptionTable, NamesAreUniqueAndSectionsExist) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const OptionRow& row : option_table()) {
    EXPECT_TRUE(seen.insert({row.section, row.name}).second) << row.section << "." << row.name;
    EXPECT_NE(find_section(row.section), nullptr) << row.section;
    EXPECT_NE(row.land, nullptr);
    EXPECT_TRUE(row.help.ends_with('.') || row.help.find(';') != std::string_view::npos)
        << row.name;
  }
}

TEST(OptionTable, DefaultsParseAndLieWithinTheirLimits) {
  for (const OptionRow& row : option_table())
    for (const std::string_view text : {row.default_text, row.tiny_text}) {
#ifdef WEIR_TINY_LIMITS  // some largest values shrink too, and then only the tiny default counts
      if (!row.tiny_text.empty() && text.data() != row.tiny_text.data()) continue;
#endif
      if (row.required() || (text.empty() && text.data() == row.tiny_text.data())) continue;
      RawValue raw;
      raw.from_text = true;
      raw.text = text;
      const auto value = to_value(row.type, raw);
      ASSERT_TRUE(value.has_value()) << row.section << "." << row.name << ": " << text;
      const bool numeric = row.type == Type::kInteger || row.type == Type::kSize ||
                           row.type == Type::kDuration || row.type == Type::kSeconds;
      if (!numeric || (value->number == 0 && row.zero_is_special())) continue;
      EXPECT_GE(value->number, row.min) << row.section << "." << row.name;
      EXPECT_LE(value->number, row.max) << row.section << "." << row.name;
    }
}

TEST(OptionTable, AMisspeltNameFindsItsNeighbour) {
  EXPECT_EQ(nearest_option("store", "max_byte"), "max_bytes");
  EXPECT_EQ(nearest_option("store", "dir"), "directory");
  EXPECT_EQ(nearest_option("log", "levle"), "level");
  EXPECT_EQ(nearest_option("log", "completely_different"), "");
  EXPECT_EQ(nearest_section("destination"), "destinations");
  EXPECT_EQ(section_with_option("max_entries"), "dedupe");
}

}  // namespace
}  // namespace weir::options
