// Events that meet every branch of an encoder: full, bare, hostile, text, binary.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "forwarder/destination.h"

namespace weir::forwarder::testing {

constexpr std::string_view kStoreId = "0b4b42a1-6f7e-4c3a-9d52-3f1f8f6f0a01";
constexpr std::string_view kBatchId = "0b4b42a1-6f7e-4c3a-9d52-3f1f8f6f0a01-2a";

struct Stored {
  EventFields fields;
  uint64_t number = 0;
  int64_t received_ms = 1'700'000'000'123;
};

inline EventFields full_event() {
  EventFields fields;
  fields.id = "order-1";
  fields.name = "purchase_completed";
  fields.source = "segment";
  fields.tenant = "acme";
  fields.session_id = "s1";
  fields.user_id = "u1";
  fields.anonymous_id = "a1";
  fields.shop_id = "shop_123";
  fields.location_id = "l1";
  fields.url = "https://shop.example/cart?x=1&y=2";
  fields.referrer = "https://search.example/";
  fields.campaign_id = "c1";
  fields.tracking_id = "t1";
  fields.variant = "B";
  fields.ip = "192.0.2.0";
  fields.user_agent = "Mozilla/5.0";
  fields.envelope = "{\"sentAt\":\"2023-11-14T22:13:20Z\",\n \"context\":{}}";
  fields.key_name = "web";
  fields.timestamp_ms = 1'699'999'999'000;
  fields.priority = 2;
  fields.raw = "{ \"messageId\" : \"order-1\",\r\n\t\"total\": 10.50, \"n\":1e999,\"s\":\"a\\nb\"}";
  return fields;
}

inline std::vector<Stored> sample_events() {
  std::vector<Stored> all;
  all.push_back({full_event(), 17});
  EventFields bare;
  bare.name = "page_view";
  bare.source = "native";
  bare.tenant = "acme";
  bare.raw = "{}";
  all.push_back({bare, 18});
  EventFields hostile;
  hostile.id = "\"},{\"id\":\"forged\"";
  hostile.name = std::string_view("a\0b\x1b[2J\x7f", 8);
  hostile.source = "native";
  hostile.tenant = "</script>\xe2\x80\xa8\xc2\x85";
  hostile.user_agent = "broken \xff\xc3( utf-8 \xed\xa0\xbd";
  hostile.url = "emoji \xf0\x9f\x98\x80 \\ \" \t\r\n";
  hostile.priority = 0;
  hostile.raw =
      "{\"lone\":\"\\ud83d\",\"deep\":[[[\n1\n,\n2\n]]],\"big\":123456789012345678901234567890}";
  all.push_back({hostile, 19});
  EventFields query;
  query.name = "pixel";
  query.source = "pixel";
  query.tenant = "acme";
  query.raw_encoding = RawEncoding::kText;
  query.raw = "e=pv&u=%22x%22&line=\n\"quoted\"";
  all.push_back({query, 20});
  EventFields binary;
  binary.name = "otlp";
  binary.source = "otlp";
  binary.tenant = "acme";
  binary.raw_encoding = RawEncoding::kBase64;
  binary.raw = "CgQIARAC";
  all.push_back({binary, 21});
  return all;
}

// All of them through an encoder, twice: the second batch must not see the first.
inline std::string encode_samples(Encoder& encoder) {
  std::string body;
  for (int round = 0; round < 2; ++round) {
    encoder.begin(kBatchId);
    for (const Stored& stored : sample_events()) {
      storage::StoredEvent event;
      event.position = {3, stored.number};
      event.received_ms = stored.received_ms;
      encoder.add(event, stored.fields);
    }
    if (!encoder.finish(&body)) return "finish failed";
  }
  return body;
}

// Set WEIR_WRITE_GOLDEN=1 to write the file, and read the diff.
inline void expect_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(WEIR_GOLDEN_DIR) + "/" + name;
  if (std::getenv("WEIR_WRITE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << text;
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file) << path;
  std::stringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(text, golden.str());
}

}  // namespace weir::forwarder::testing
