// Content-Encoding of request bodies: what is understood, and what hostile streams get.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

// window_bits: 15 zlib, 31 gzip, -15 raw.
std::string deflated(const std::string& text, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  std::string input = text;
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
std::string gzipped(const std::string& text) { return deflated(text, 31); }

std::string zstandard(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

// Without the decoded size in its header, as streaming encoders write it.
std::string zstandard_stream(const std::string& text) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::string out(ZSTD_compressBound(text.size()) + 64, '\0');
  ZSTD_inBuffer input{text.data(), text.size(), 0};
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush);
  EXPECT_EQ(ZSTD_compressStream2(context, &output, &input, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  out.resize(output.pos);
  return out;
}

std::string post(const std::string& coding, const std::string& body,
                 const std::string& path = "/echo") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\n" +
         (coding.empty() ? "" : "Content-Encoding: " + coding + "\r\n") +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string random_text(size_t size) {
  std::mt19937 random(7);
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>('a' + random() % 20);
  return text;
}

void expect_decoded(const std::string& request, const std::string& text) {
  for (size_t piece : {size_t{0}, request.size() / 7 + 1}) {
    Harness harness;
    FakeStream& client = harness.connect();
    piece == 0 ? harness.send(client, request) : harness.send_in_pieces(client, request, piece);
    EXPECT_EQ(status_of(client.output), 200) << client.output.substr(0, 500);
    ASSERT_EQ(harness.handler.seen.size(), 1u);
    EXPECT_TRUE(harness.handler.seen[0].body == text);
    EXPECT_FALSE(client.closing());
  }
}

TEST(Encoding, EveryCodingIsDecodedSmallAndLarge) {
  for (size_t size : {1, 300, 40'000, 300'000, 2'000'000}) {
    const std::string text = random_text(size);
    SCOPED_TRACE(size);
    expect_decoded(post("gzip", gzipped(text)), text);
    expect_decoded(post("X-GZip", gzipped(text)), text);
    expect_decoded(post("deflate", deflated(text, 15)), text);
    expect_decoded(post("deflate", deflated(text, -15)), text);
    expect_decoded(post("zstd", zstandard(text)), text);
    expect_decoded(post("zstd", zstandard_stream(text)), text);
    expect_decoded(post("identity", text), text);
    expect_decoded(post("", text), text);
  }
}

TEST(Encoding, GzipIsRecognisedByItsFirstBytesWithoutAHeader) {
  const std::string text = random_text(3000);
  expect_decoded(post("", gzipped(text)), text);
  expect_decoded(post("identity", gzipped(text)), text);
}

TEST(Encoding, ChunkedAndCompressedWorkTogether) {
  const std::string text = random_text(50'000);
  const std::string packed = gzipped(text);
  std::string request =
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < packed.size(); at += 0x700) {
    const std::string piece = packed.substr(at, 0x700);
    char size[16];
    snprintf(size, sizeof size, "%zx\r\n", piece.size());
    request += size + piece + "\r\n";
  }
  expect_decoded(request + "0\r\n\r\n", text);
}

TEST(Encoding, SeveralGzipMembersAreOneBody) {
  expect_decoded(post("gzip", gzipped("hello ") + gzipped("world")), "hello world");
  const std::string text = random_text(200'000);
  expect_decoded(post("gzip", gzipped(text) + gzipped(text)), text + text);
}

TEST(Encoding, AnEmptyBodyNeedsNoDecoding) { expect_decoded(post("gzip", ""), ""); }

TEST(Encoding, UnknownOrStackedCodingsGet415AndKeepTheConnection) {
  for (const char* coding : {"br", "gzip, gzip", "gzip,identity", "compress", "identity, gzip"}) {
    Harness harness;
    FakeStream& client = harness.connect();
    harness.send(client, post(coding, "xyz"));
    EXPECT_EQ(status_of(client.output), 415) << coding;
    EXPECT_EQ(header_of(client.output, "Accept-Encoding"), "gzip, deflate, zstd, identity");
    EXPECT_FALSE(client.closing());
  }
  Harness harness;
  EXPECT_EQ(status_of(harness.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                                  "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")),
            415);
}

void expect_corrupt(const std::string& coding, const std::string& body) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, post(coding, body));
  EXPECT_EQ(status_of(client.output), 400) << coding << client.output.substr(0, 300);
  EXPECT_NE(client.output.find("invalid_compression"), std::string::npos);
  EXPECT_TRUE(harness.handler.seen.empty());
  EXPECT_FALSE(client.closing());
}

TEST(Encoding, DamagedAndTruncatedStreamsGet400) {
  for (size_t size : {100, 100'000, 400'000}) {
    const std::string text = random_text(size);
    for (const auto& [coding, packed] :
         std::vector<std::pair<std::string, std::string>>{{"gzip", gzipped(text)},
                                                          {"deflate", deflated(text, 15)},
                                                          {"deflate", deflated(text, -15)},
                                                          {"zstd", zstandard(text)},
                                                          {"zstd", zstandard_stream(text)}}) {
      for (size_t cut : {size_t{1}, size_t{5}, packed.size() / 2})
        expect_corrupt(coding, packed.substr(0, packed.size() - cut));
      expect_corrupt(coding, packed + "garbage");
    }
    std::string flipped = gzipped(text);
    flipped[flipped.size() - 6] = static_cast<char>(flipped[flipped.size() - 6] ^ 1);  // CRC
    expect_corrupt("gzip", flipped);
  }
  for (const char* coding : {"gzip", "zstd"}) {
    expect_corrupt(coding, "{\"not\":\"compressed\"}");
    expect_corrupt(coding, "x");
  }
}

TEST(Encoding, BombsAreRefusedByRatioOrSize) {
  const std::string zeros(40 << 20, '\0');
  for (const auto& [coding, packed] :
       std::vector<std::pair<std::string, std::string>>{{"gzip", gzipped(zeros)},
                                                        {"deflate", deflated(zeros, 15)},
                                                        {"zstd", zstandard(zeros)}}) {
    Harness harness;
    FakeStream& client = harness.connect();
    harness.send(client, post(coding, packed));
    EXPECT_EQ(status_of(client.output), 413) << coding;
    EXPECT_EQ(harness.limit_hits("expansion_ratio") + harness.limit_hits("decoded_body_bytes"), 1);
    EXPECT_EQ(harness.budget.used(), 0u);
    EXPECT_FALSE(client.closing());
  }
}

TEST(Encoding, TheDecodedSizeHasItsLimit) {
  ServerOptions options = production_options();
  options.limits.decoded_body_bytes = 10'000;
  Harness harness(options);
  EXPECT_EQ(status_of(harness.ask(post("gzip", gzipped(random_text(10'000))))), 200);
  const std::string answer = harness.ask(post("gzip", gzipped(random_text(10'001))));
  EXPECT_EQ(status_of(answer), 413);
  EXPECT_NE(answer.find("body_too_large"), std::string::npos);
  EXPECT_EQ(harness.limit_hits("decoded_body_bytes"), 1);
  EXPECT_EQ(status_of(harness.ask(post("gzip", gzipped("01234567890"), "/tiny"))), 413)
      << "the handler's limit is about decoded bytes";
}

TEST(Encoding, SmallBodiesMayExpandALot) {
  const std::string text(60'000, 'a');  // 1000 : 1, but harmless
  expect_decoded(post("gzip", gzipped(text)), text);
}

TEST(Encoding, TheRatioHasItsLimit) {
  ServerOptions options = production_options();
  options.limits.expansion_ratio = 10;
  Harness harness(options);
  const std::string answer = harness.ask(post("gzip", gzipped(std::string(100'000, 'a'))));
  EXPECT_EQ(status_of(answer), 413);
  EXPECT_NE(answer.find("expansion_too_large"), std::string::npos);
  EXPECT_EQ(harness.limit_hits("expansion_ratio"), 1);
}

TEST(Encoding, NoMemoryForTheDecodedBodyIs503) {
  for (size_t size : {30'000, 900'000}) {
    Harness harness(production_options(), 60'000);
    const std::string answer = harness.ask(post("gzip", gzipped(std::string(size, 'a'))));
    EXPECT_EQ(status_of(answer), size == 30'000 ? 200 : 503);
    EXPECT_EQ(harness.budget.used(), 0u);
  }
}

TEST(Encoding, AClientMayLeaveWhileItsBodyIsDecoded) {
  Harness harness;
  FakeStream& client = harness.connect();
  FakeStream& other = harness.connect();
  const std::string text = random_text(2'000'000);
  const std::string request = post("gzip", gzipped(text));
  client.handler->on_data(request);  // no turn of the loop yet: decoding has not begun
  other.handler->on_data(request);
  harness.loop.turn();
  client.handler->on_error(ECONNRESET);
  harness.loop.settle();
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(status_of(other.output), 200);
  ASSERT_EQ(harness.handler.seen.size(), 1u);
}

TEST(Encoding, LargeBodiesAreDecodedInSlicesThatLetOthersThrough) {
  Harness harness;
  FakeStream& large = harness.connect();
  FakeStream& quick = harness.connect();
  const std::string request = post("gzip", gzipped(random_text(2'000'000)));
  large.handler->on_data(request);
  quick.handler->on_data("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  harness.loop.turn();
  harness.loop.turn();
  EXPECT_EQ(status_of(quick.output), 200);
  EXPECT_EQ(large.output, "");
  harness.loop.settle();
  EXPECT_EQ(status_of(large.output), 200);
}

}  // namespace
}  // namespace weir::http
