// Who the client is: PROXY protocol, Forwarded, X-Forwarded-For, and who may say so.
#include <gtest/gtest.h>

#include "collector/http/proxy_protocol.h"
#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;
using std::string_literals::operator""s;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

ServerOptions trusting(bool proxy_protocol = false) {
  ServerOptions options = production_options();
  options.proxy.trusted = {"10.0.0.0/8", "::1/128", "192.0.2.7"};
  options.proxy.proxy_protocol = proxy_protocol;
  return options;
}

std::string v2(unsigned char command, unsigned char family, const std::string& payload) {
  std::string header("\r\n\r\n\0\r\nQUIT\n", 12);
  header += static_cast<char>(0x20 | command);
  header += static_cast<char>(family);
  header += static_cast<char>(payload.size() >> 8);
  header += static_cast<char>(payload.size());
  return header + payload;
}
const std::string kV4Payload = "\xc6\x33\x64\x05\xc6\x33\x64\x01\x30\x39\x01\xbb"s;
const std::string kV6Payload =
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05"s + std::string(16, '\x01') + "\x30\x39\x01\xbb";

TEST(ProxyProtocol, WellFormedHeadersNameTheClient) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"PROXY TCP4 198.51.100.5 198.51.100.1 12345 443\r\n", "198.51.100.5"},
      {"PROXY TCP6 2001:db8::5 2001:db8::1 12345 443\r\n", "2001:db8::5"},
      {"PROXY UNKNOWN\r\n", "10.1.2.3"},
      {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "10.1.2.3"},
      {v2(1, 0x11, kV4Payload), "198.51.100.5"},
      {v2(1, 0x21, kV6Payload), "2001:db8::5"},
      {v2(1, 0x11,
          kV4Payload + "\x04\x00\x03"
                       "abc"s),
       "198.51.100.5"},
      {v2(0, 0x00, ""), "10.1.2.3"},
      {v2(0, 0x11, kV4Payload), "10.1.2.3"},
      {v2(1, 0x00, ""), "10.1.2.3"},
  };
  for (const auto& [header, client_ip] : cases) {
    for (size_t piece : {size_t{1000}, size_t{1}, size_t{13}}) {
      Harness harness(trusting(true));
      FakeStream& client = harness.connect("10.1.2.3");
      harness.send_in_pieces(client, header + std::string(kGet), piece);
      EXPECT_EQ(status_of(client.output), 200) << header;
      ASSERT_EQ(harness.handler.seen.size(), 1u);
      EXPECT_EQ(harness.handler.seen[0].client_ip, client_ip);
    }
  }
}

TEST(ProxyProtocol, MalformedOrMissingHeadersEndTheConnection) {
  const std::string get(kGet);
  for (const std::string& bytes : std::vector<std::string>{
           get,
           "PROXY TCP4 198.51.100.5 198.51.100.1 12345\r\n" + get,
           "PROXY TCP4 198.51.100.5 198.51.100.1 12345 70000\r\n" + get,
           "PROXY TCP4 198.51.100 198.51.100.1 12345 443\r\n" + get,
           "PROXY TCP4 2001:db8::5 2001:db8::1 12345 443\r\n" + get,
           "PROXY TCP4  198.51.100.5 198.51.100.1 12345 443\r\n" + get,
           "PROXY TCP4 198.51.100.5 198.51.100.1 12345 443\n" + get,
           "PROXY TCP5 198.51.100.5 198.51.100.1 12345 443\r\n" + get,
           "PROXY " + std::string(200, 'x'),
           "proxy TCP4 198.51.100.5 198.51.100.1 12345 443\r\n" + get,
           v2(1, 0x11, "short") + get,
           v2(1, 0x21, kV4Payload) + get,
           v2(2, 0x11, kV4Payload) + get,
           v2(1, 0x51, kV4Payload) + get,
           v2(1, 0x11, std::string(60'000, 'x')),
           std::string("\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", 16) + kV4Payload + get,
           "\r\n\r\n" + get,
       }) {
    Harness harness(trusting(true));
    FakeStream& client = harness.connect("10.1.2.3");
    harness.send_in_pieces(client, bytes, 40);
    EXPECT_EQ(status_of(client.output), 400) << bytes.substr(0, 80);
    EXPECT_TRUE(harness.handler.seen.empty());
    EXPECT_EQ(harness.metric(Metric::kHttpErrors, {"invalid_proxy_header"}), 1);
    EXPECT_TRUE(client.write_shut || client.closed);
  }
}

TEST(ProxyProtocol, FromUntrustedPeersItIsAMalformedRequest) {
  Harness harness(trusting(true));
  FakeStream& client = harness.connect("203.0.113.9");
  harness.send(client, "PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n" + std::string(kGet));
  EXPECT_EQ(status_of(client.output), 400);
  EXPECT_TRUE(harness.handler.seen.empty());
  FakeStream& plain = harness.connect("203.0.113.9");
  harness.send(plain, kGet);
  EXPECT_EQ(status_of(plain.output), 200) << "they speak plain HTTP";
}

TEST(ProxyProtocol, AnIncompleteHeaderTimesOut) {
  Harness harness(trusting(true));
  FakeStream& client = harness.connect("10.1.2.3");
  harness.send(client, "PROXY TCP4 ");
  harness.loop.advance_ms(10'100);
  EXPECT_TRUE(client.closed);
}

struct ForwardedCase {
  const char* headers;
  const char* client_ip;
};

TEST(Forwarded, TrustedPeersNameTheRightmostUntrustedAddress) {
  for (const ForwardedCase& test : std::vector<ForwardedCase>{
           {"X-Forwarded-For: 198.51.100.5\r\n", "198.51.100.5"},
           {"X-Forwarded-For: 1.1.1.1, 198.51.100.5\r\n", "198.51.100.5"},
           {"X-Forwarded-For: 1.1.1.1, 198.51.100.5, 10.9.9.9, 192.0.2.7\r\n", "198.51.100.5"},
           {"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 198.51.100.5, 10.2.2.2\r\n",
            "198.51.100.5"},
           {"X-Forwarded-For: 198.51.100.5\r\nX-Forwarded-For: 10.2.2.2\r\n", "198.51.100.5"},
           {"X-Forwarded-For: 10.5.5.5, 10.6.6.6\r\n", "10.5.5.5"},
           {"X-Forwarded-For: 198.51.100.5:4711\r\n", "198.51.100.5"},
           {"X-Forwarded-For: 2001:db8::5\r\n", "2001:db8::5"},
           {"X-Forwarded-For: ::ffff:198.51.100.5\r\n", "198.51.100.5"},
           {"X-Forwarded-For: 198.51.100.5, unknown, 10.2.2.2\r\n", "10.2.2.2"},
           {"X-Forwarded-For: nonsense\r\n", "10.1.2.3"},
           {"X-Forwarded-For:\r\n", "10.1.2.3"},
           {"Forwarded: for=198.51.100.5\r\n", "198.51.100.5"},
           {"Forwarded: for=1.1.1.1, for=\"[2001:db8::5]:4711\";proto=https;by=10.1.2.3\r\n",
            "2001:db8::5"},
           {"Forwarded: For=\"198.51.100.5:80\" , for=10.2.2.2\r\n", "198.51.100.5"},
           {"Forwarded: for=_hidden, for=10.2.2.2\r\n", "10.2.2.2"},
           {"Forwarded: proto=https\r\n", "10.1.2.3"},
           {"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 198.51.100.5\r\n", "198.51.100.5"},
       }) {
    Harness harness(trusting());
    FakeStream& client = harness.connect("10.1.2.3");
    harness.send(client, "GET / HTTP/1.1\r\nHost: x\r\n" + std::string(test.headers) + "\r\n");
    ASSERT_EQ(harness.handler.seen.size(), 1u);
    EXPECT_EQ(harness.handler.seen[0].client_ip, test.client_ip) << test.headers;
    EXPECT_TRUE(harness.handler.seen[0].forwarding_header_present);
    EXPECT_EQ(harness.metric(Metric::kProxyHeadersIgnored, {}), 0);
  }
}

TEST(Forwarded, FromUntrustedPeersItIsIgnoredAndCounted) {
  Harness harness(trusting());
  for (const char* header :
       {"X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4"}) {
    FakeStream& client = harness.connect("203.0.113.9");
    harness.send(client, "GET / HTTP/1.1\r\nHost: x\r\n" + std::string(header) + "\r\n\r\n");
    EXPECT_EQ(harness.handler.seen.back().client_ip, "203.0.113.9");
    EXPECT_TRUE(harness.handler.seen.back().forwarding_header_present);
  }
  EXPECT_EQ(harness.metric(Metric::kProxyHeadersIgnored, {}), 3);
}

TEST(Forwarded, ThePeerBehindProxyProtocolDecidesWhetherItIsBelieved) {
  Harness harness(trusting(true));
  FakeStream& client = harness.connect("10.1.2.3");
  harness.send(client,
               "PROXY TCP4 198.51.100.5 10.1.2.3 1 2\r\n"
               "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
  ASSERT_EQ(harness.handler.seen.size(), 1u);
  EXPECT_EQ(harness.handler.seen[0].client_ip, "198.51.100.5");
  EXPECT_EQ(harness.metric(Metric::kProxyHeadersIgnored, {}), 1);
}

TEST(IpRanges, MatchPrefixesOfBothFamilies) {
  auto ranges = IpRanges::parse({"10.16.0.0/12", "2001:db8::/33", "192.0.2.1", "::1"});
  ASSERT_TRUE(ranges.has_value());
  const auto contains = [&](const char* text) {
    IpAddress address;
    EXPECT_TRUE(IpAddress::parse(text, address)) << text;
    return ranges->contains(address);
  };
  EXPECT_TRUE(contains("10.16.0.0"));
  EXPECT_TRUE(contains("10.31.255.255"));
  EXPECT_FALSE(contains("10.32.0.0"));
  EXPECT_TRUE(contains("::ffff:10.17.0.1"));
  EXPECT_TRUE(contains("2001:db8:7fff::1"));
  EXPECT_FALSE(contains("2001:db8:8000::1"));
  EXPECT_TRUE(contains("192.0.2.1"));
  EXPECT_FALSE(contains("192.0.2.2"));
  EXPECT_TRUE(contains("::1"));
}

TEST(IpRanges, WrongEntriesAreNamed) {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "::/129", "localhost", "",
                           "10.0.0/8", "10.0.0.0/-1"}) {
    ServerOptions options = production_options();
    options.proxy.trusted = {text};
    FakeLoop loop;
    ScriptedHandler handler;
    BodyBudget budget(1000);
    MetricRegistry metrics;
    auto server = Server::create(options, loop, handler, budget, metrics);
    ASSERT_FALSE(server.has_value()) << text;
    EXPECT_NE(server.error().message.find("'" + std::string(text) + "'"), std::string::npos);
  }
}

}  // namespace
}  // namespace weir::http
