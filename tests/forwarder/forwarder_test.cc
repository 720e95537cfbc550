// The whole forwarder, its thread and libcurl, against a server that misbehaves. The store is the
// one in memory: over_store_test.cc does the same over the real one.
#include "forwarder/forwarder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <thread>

#include "forwarder/limits.h"
#include "forwarder/signature.h"
#include "tests/forwarder/fake_store.h"
#include "tests/forwarder/faulty_server.h"
#include "tests/forwarder/lane_fixture.h"

namespace weir::forwarder::testing {
namespace {

using Fault = ServerAnswer::Fault;

bool eventually(const std::function<bool()>& holds, int64_t ms = 20'000) {
  for (int64_t waited = 0; waited < ms; waited += 5) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return holds();
}

DestinationOptions destination(const std::string& name, const std::string& url) {
  DestinationOptions options;
  options.name = name;
  options.url = url;
  options.batch.linger_ms = 5;
  options.retry.base_ms = 10;
  options.retry.cap_ms = 50;
  return options;
}

class ForwarderTest : public ::testing::Test {
 protected:
  ~ForwarderTest() override { end(); }

  void start(std::vector<DestinationOptions> destinations) {
    if (!store) store = std::make_unique<FakeStore>();
    ForwarderOptions options;
    options.node = "edge-1";
    options.destinations = std::move(destinations);
    options.drain_ms = 2'000;
    auto started = Forwarder::start(options, *store, Clock::system(), metrics);
    ASSERT_TRUE(started) << started.error().message;
    forwarder = std::move(*started);
  }
  void end() {
    if (forwarder) forwarder->stop();
    forwarder.reset();
  }
  storage::OutcomeCounts counts(const std::string& lane) const {
    auto state = store->lane(lane);
    return state ? state->counts : storage::OutcomeCounts{};
  }
  bool all_sent(const std::string& lane, uint64_t events) const {
    return eventually([&] { return counts(lane).sent == events; });
  }
  LaneStatus status(const std::string& lane) const {
    for (const LaneStatus& row : forwarder->status())
      if (row.name == lane) return row;
    return {};
  }

  MetricRegistry metrics;
  std::unique_ptr<FakeStore> store;
  std::unique_ptr<Forwarder> forwarder;
};

TEST_F(ForwarderTest, DeliversWithTheDocumentedHeaders) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; });
  DestinationOptions options = destination("saas", server.url("/v1/in?x=1"));
  options.headers = {{"Authorization", "Bearer t0ken"}, {"X-Empty", ""}};
  options.hmac_key = "secret";
  start({options});
  store->append_many(3, "e");
  ASSERT_TRUE(all_sent("saas", 3));
  const ServerRequest request = server.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/v1/in?x=1");
  EXPECT_EQ(request.headers.at("content-type"), "application/json");
  EXPECT_EQ(request.headers.at("content-encoding"), "gzip");
  EXPECT_EQ(request.headers.at("authorization"), "Bearer t0ken");
  EXPECT_EQ(request.headers.count("x-empty"), 1u);
  EXPECT_EQ(request.headers.count("expect"), 0u);
  EXPECT_EQ(request.headers.at("weir-node"), "edge-1");
  EXPECT_EQ(request.headers.at("weir-store"), store->id().text());
  const std::string batch_id = request.headers.at("idempotency-key");
  EXPECT_EQ(
      request.body.find("{\"batch_id\":\"" + batch_id + "\",\"node\":\"edge-1\",\"store_id\""), 0u);
  const std::string signature = request.headers.at("weir-signature");
  const int64_t time = std::stoll(signature.substr(2));
  EXPECT_NEAR(static_cast<double>(time), static_cast<double>(Clock::system().wall_ms()) / 1000, 60);
  EXPECT_EQ(signature, make_signature("secret", time, request.wire_body));
}

TEST_F(ForwarderTest, EveryFormatAndCompressionArrivesWhole) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; });
  std::vector<DestinationOptions> all;
  for (const auto format : {BodyFormat::kJson, BodyFormat::kNdjson})
    for (const auto compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
      auto& options = all.emplace_back(destination("d" + std::to_string(all.size()),
                                                   server.url("/" + std::to_string(all.size()))));
      options.format = format;
      options.compression = compression;
    }
  start(all);
  store->append_many(2500, "e");
  for (const auto& options : all) ASSERT_TRUE(all_sent(options.name, 2500)) << options.name;
  std::map<std::string, std::multiset<std::string>> arrived;
  for (const ServerRequest& request : server.requests()) {
    const auto ids = event_ids(request.body);
    EXPECT_EQ(request.headers.at("weir-events"), std::to_string(ids.size()));
    arrived[request.target].insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(arrived.size(), 6u);
  for (const auto& [target, ids] : arrived) {
    EXPECT_EQ(ids.size(), 2500u) << target;
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 2500u) << target;
  }
}

TEST_F(ForwarderTest, ConnectionsAreReused) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; });
  DestinationOptions options = destination("saas", server.url());
  options.batch.max_events = 10;
  options.concurrency = 2;
  start({options});
  store->append_many(500, "e");
  ASSERT_TRUE(all_sent("saas", 500));
  EXPECT_EQ(server.requests().size(), 50u);
  EXPECT_LE(server.connections(), 2u);
}

// Every way of failing once or for a while: the same batch comes again and is delivered in the end.
TEST_F(ForwarderTest, AfterAnyPassingFaultTheSameBatchComesAgain) {
  struct Row {
    const char* name;
    ServerAnswer answer;
  };
  std::vector<Row> rows;
  rows.push_back({"500", {.status = 500}});
  rows.push_back({"502", {.status = 502, .body = std::string(5000, 'x')}});
  rows.push_back({"503", {.status = 503, .headers = "Retry-After: 0\r\n"}});
  rows.push_back({"408", {.status = 408}});
  rows.push_back({"425", {.status = 425}});
  rows.push_back({"429", {.status = 429, .headers = "Retry-After: 0\r\n"}});
  rows.push_back({"999", {.status = 999}});
  rows.push_back({"reset", {.fault = Fault::kReset}});
  rows.push_back(
      {"reset mid body", {.body = std::string(1000, 'x'), .fault = Fault::kResetMidBody}});
  rows.push_back({"garbage", {.fault = Fault::kGarbage}});
  rows.push_back({"hang", {.fault = Fault::kHang}});
  for (const Row& row : rows) {
    int calls = 0;
    FaultyServer server(
        [&](const ServerRequest&) { return ++calls <= 2 ? row.answer : ServerAnswer{}; });
    store = std::make_unique<FakeStore>();
    DestinationOptions options = destination("saas", server.url());
    options.request_timeout_ms = 300;
    start({options});
    store->append_many(5, "e");
    EXPECT_TRUE(all_sent("saas", 5)) << row.name;
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 3u) << row.name;
    for (const ServerRequest& request : requests) {
      EXPECT_EQ(request.headers.at("idempotency-key"), requests[0].headers.at("idempotency-key"));
      EXPECT_EQ(request.wire_body, requests[0].wire_body) << row.name;
    }
    EXPECT_EQ(store->disk().deliveries.at(0).attempts, 3u) << row.name;
    EXPECT_EQ(counts("saas").failed, 0u);
    end();
  }
}

TEST_F(ForwarderTest, ADestinationThatIsDownIsFoundAgain) {
  int port = 0;
  {
    port = FaultyServer([](const ServerRequest&) { return ServerAnswer{}; }).port();
  }
  start({destination("saas", "http://127.0.0.1:" + std::to_string(port) + "/in")});
  store->append_many(50, "e");
  ASSERT_TRUE(eventually([&] { return status("saas").attempts >= 3; }));
  EXPECT_EQ(status("saas").state, "backing_off");
  EXPECT_NE(status("saas").last_error.find("onnect"), std::string::npos)
      << status("saas").last_error;
  EXPECT_EQ(counts("saas").sent, 0u);
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; }, nullptr, port);
  ASSERT_TRUE(all_sent("saas", 50));
  ASSERT_TRUE(eventually([&] { return status("saas").state == "idle"; }));
}

TEST_F(ForwarderTest, RetryAfterIsHonoured) {
  int calls = 0;
  FaultyServer server([&](const ServerRequest&) {
    ServerAnswer answer;
    if (++calls == 1) answer = {.status = 429, .headers = "Retry-After: 1\r\n"};
    return answer;
  });
  start({destination("saas", server.url())});
  const auto begin = std::chrono::steady_clock::now();
  store->append_many(5, "e");
  ASSERT_TRUE(all_sent("saas", 5));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1000));
}

TEST_F(ForwarderTest, OnePoisonEventAmongAThousandEndsAlone) {
  FaultyServer server([](const ServerRequest& request) {
    ServerAnswer answer;
    if (request.body.find("\"poison\"") != std::string::npos)
      answer = {.status = 400, .body = "field x of event poison is wrong"};
    return answer;
  });
  start({destination("saas", server.url())});
  store->append_many(637, "a");
  store->append(make_payload({.id = "poison"}));
  store->append_many(362, "b");
  ASSERT_TRUE(all_sent("saas", 999));
  ASSERT_TRUE(eventually([&] { return counts("saas").failed == 1; }));
  const storage::DeadLetter letter = store->disk().letters.begin()->second;
  EXPECT_EQ(letter.event_id, "poison");
  EXPECT_EQ(letter.status, 400);
  EXPECT_EQ(letter.detail, "HTTP 400: field x of event poison is wrong");
}

TEST_F(ForwarderTest, BatchesShrinkUntilTheDestinationTakesThem) {
  FaultyServer server([](const ServerRequest& request) {
    return ServerAnswer{.status = event_ids(request.body).size() > 7 ? 413 : 200};
  });
  start({destination("saas", server.url())});
  store->append_many(1000, "e");
  ASSERT_TRUE(all_sent("saas", 1000));
  EXPECT_EQ(counts("saas").failed, 0u);
}

TEST_F(ForwarderTest, ARedirectIsNotFollowedAndNamesItsReason) {
  FaultyServer other([](const ServerRequest&) { return ServerAnswer{}; });
  FaultyServer server([&](const ServerRequest&) {
    return ServerAnswer{.status = 307, .headers = "Location: " + other.url() + "\r\n"};
  });
  start({destination("saas", server.url())});
  store->append_many(1, "e");
  ASSERT_TRUE(eventually([&] { return counts("saas").failed == 1; }));
  EXPECT_TRUE(other.requests().empty());
  const storage::DeadLetter letter = store->disk().letters.begin()->second;
  EXPECT_EQ(letter.reason, "redirect");
  EXPECT_EQ(letter.status, 307);
  EXPECT_NE(letter.detail.find("not followed"), std::string::npos);
  EXPECT_NE(letter.detail.find(other.url()), std::string::npos);
}

TEST_F(ForwarderTest, AnAnswerWithoutAnEndCountsByItsStatus) {
  FaultyServer server([](const ServerRequest& request) {
    const bool bad = request.body.find("\"poison\"") != std::string::npos;
    return ServerAnswer{.status = bad ? 400 : 200, .fault = Fault::kEndless};
  });
  start({destination("saas", server.url())});
  store->append_many(5, "e");
  ASSERT_TRUE(all_sent("saas", 5));
  store->append(make_payload({.id = "poison"}));
  ASSERT_TRUE(eventually([&] { return counts("saas").failed == 1; }));
  const storage::DeadLetter letter = store->disk().letters.begin()->second;
  EXPECT_LE(letter.detail.size(), kMaxSnippetBytes + 100);
}

TEST_F(ForwarderTest, OneDeadLaneHoldsBackNoOther) {
  FaultyServer well([](const ServerRequest&) { return ServerAnswer{}; });
  FaultyServer hanging([](const ServerRequest&) { return ServerAnswer{.fault = Fault::kHang}; });
  FaultyServer refusing([](const ServerRequest&) { return ServerAnswer{.status = 503}; });
  start({destination("hanging", hanging.url()), destination("refusing", refusing.url()),
         destination("down", "http://127.0.0.1:1/in"), destination("well", well.url())});
  for (int i = 0; i < 20; ++i) store->append_many(500, "e" + std::to_string(i) + "-");
  ASSERT_TRUE(all_sent("well", 10'000));
  EXPECT_EQ(counts("hanging").sent + counts("refusing").sent + counts("down").sent, 0u);
}

TEST_F(ForwarderTest, ARestartSendsWhatWasNotMarkedUnderTheSameId) {
  store = std::make_unique<FakeStore>();
  std::optional<FakeDisk> in_flight;  // what a kill -9 between send and mark leaves
  FaultyServer server([&](const ServerRequest&) {
    if (!in_flight) in_flight = store->disk();
    return ServerAnswer{};
  });
  start({destination("saas", server.url())});
  store->append_many(5, "e");
  ASSERT_TRUE(all_sent("saas", 5));
  end();
  store = std::make_unique<FakeStore>(*in_flight);
  start({destination("saas", server.url())});
  ASSERT_TRUE(all_sent("saas", 5));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[1].headers.at("idempotency-key"), requests[0].headers.at("idempotency-key"));
  EXPECT_EQ(requests[1].wire_body, requests[0].wire_body);
}

TEST_F(ForwarderTest, StopFlushesWhatWaitsAndIsIdempotent) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{.delay_ms = 50}; });
  DestinationOptions options = destination("saas", server.url());
  options.batch.linger_ms = 60'000;
  start({options});
  store->append_many(30, "e");
  forwarder->stop();
  EXPECT_EQ(counts("saas").sent, 30u);
  forwarder->stop();
}

TEST_F(ForwarderTest, StopCutsOffAHangingRequestAfterTheDrainTime) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{.fault = Fault::kHang}; });
  start({destination("saas", server.url())});
  store->append_many(30, "e");
  ASSERT_TRUE(eventually([&] { return server.requests().size() == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  forwarder->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
  EXPECT_EQ(store->lane("saas")->shards[0].open.size(), 1u);  // it waits for the next start
}

TEST_F(ForwarderTest, WakeFindsRequeuedLetters) {
  bool repaired = false;
  FaultyServer server(
      [&](const ServerRequest&) { return ServerAnswer{.status = repaired ? 200 : 422}; });
  start({destination("saas", server.url())});
  store->append_many(3, "e");
  ASSERT_TRUE(eventually([&] { return counts("saas").failed == 3; }));
  repaired = true;
  for (const auto& [id, letter] : store->disk().letters) store->requeue(id);
  forwarder->wake();
  ASSERT_TRUE(all_sent("saas", 3));
  EXPECT_TRUE(store->disk().letters.empty());
}

TEST_F(ForwarderTest, DestinationsAreAddedChangedAndRemovedWhileOthersGoOn) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; });
  const auto at = [&](const std::string& name, const std::string& path) {
    return destination(name, server.url(path));
  };
  start({at("stays", "/stays"), at("changes", "/before"), at("goes", "/goes")});
  store->append_many(10, "a");
  for (const char* name : {"stays", "changes", "goes"}) ASSERT_TRUE(all_sent(name, 10)) << name;
  int committed = 0;
  const auto commit = [&]() -> Status {
    ++committed;
    store->add_lane_if_missing("comes");
    return {};
  };
  ASSERT_TRUE(forwarder->reconfigure(
      {at("stays", "/stays"), at("changes", "/after"), at("comes", "/comes")}, {"changes"},
      commit));
  EXPECT_EQ(committed, 1);
  store->append_many(10, "b");
  ASSERT_TRUE(all_sent("stays", 20));
  ASSERT_TRUE(all_sent("changes", 20));
  ASSERT_TRUE(all_sent("comes", 20));  // a new one starts at the beginning
  EXPECT_EQ(counts("goes").sent, 10u);
  std::map<std::string, size_t> events;
  for (const ServerRequest& request : server.requests())
    events[request.target] += event_ids(request.body).size();
  EXPECT_EQ(events["/before"], 10u);
  EXPECT_EQ(events["/after"], 10u);
  EXPECT_EQ(events["/goes"], 10u);
  EXPECT_EQ(status("goes").name, "");
  EXPECT_EQ(status("comes").name, "comes");
}

TEST_F(ForwarderTest, AChangeThatCannotBeMadeChangesNothing) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; });
  start({destination("saas", server.url("/in"))});
  const auto never = [&]() -> Status {
    ADD_FAILURE() << "nothing may be committed";
    return {};
  };
  DestinationOptions bad = destination("bad", "gopher://nowhere");
  EXPECT_FALSE(forwarder->reconfigure({bad}, {}, never));
  const auto refused = [&]() -> Status { return fail(ErrorCode::kIo, "the disk says no"); };
  EXPECT_FALSE(forwarder->reconfigure({destination("other", server.url("/x"))}, {}, refused));
  store->append_many(3, "e");
  EXPECT_TRUE(all_sent("saas", 3));
  EXPECT_EQ(status("other").name, "");
}

TEST_F(ForwarderTest, ABatchInFlightOfAChangedDestinationIsSentByItsSuccessor) {
  FaultyServer hanging([](const ServerRequest&) {
    ServerAnswer answer;
    answer.fault = Fault::kHang;
    return answer;
  });
  FaultyServer well([](const ServerRequest&) { return ServerAnswer{}; });
  start({destination("saas", hanging.url())});
  store->append_many(7, "e");
  ASSERT_TRUE(eventually([&] { return !hanging.requests().empty(); }));
  const auto nothing = []() -> Status { return {}; };
  ASSERT_TRUE(forwarder->reconfigure({destination("saas", well.url())}, {"saas"}, nothing));
  ASSERT_TRUE(all_sent("saas", 7));
  EXPECT_EQ(well.requests().at(0).headers.at("idempotency-key"),
            hanging.requests().at(0).headers.at("idempotency-key"));
}

TEST_F(ForwarderTest, SaysWhetherADestinationWantsAnEvent) {
  DestinationOptions options = destination("saas", "http://127.0.0.1:1/");
  options.filter_names = {"keep"};
  start({options});
  EXPECT_EQ(forwarder->wants("saas", make_payload({.name = "keep"})), true);
  EXPECT_EQ(forwarder->wants("saas", make_payload({.name = "other"})), false);
  EXPECT_EQ(forwarder->wants("saas", make_payload({.name = "keep", .sandbox = true})), false);
  EXPECT_EQ(forwarder->wants("nobody", make_payload({})), std::nullopt);
}

TEST_F(ForwarderTest, OptionsThatCannotWorkAreNamed) {
  store = std::make_unique<FakeStore>();
  const auto error_of = [&](std::vector<DestinationOptions> destinations) {
    ForwarderOptions options;
    options.node = "edge";
    options.destinations = std::move(destinations);
    auto started = Forwarder::start(options, *store, Clock::system(), metrics);
    return started ? std::string() : started.error().message;
  };
  DestinationOptions good = destination("a", "http://127.0.0.1:1/");
  EXPECT_NE(error_of({good, good}).find("two destinations are named a"), std::string::npos);
  EXPECT_NE(error_of({destination("a", "ftp://x/")}).find("http://"), std::string::npos);
  EXPECT_NE(error_of({destination("a", "http://[::1/")}).find("not a valid address"),
            std::string::npos);
  DestinationOptions bad = good;
  bad.type = "carrier-pigeon";
  EXPECT_NE(error_of({bad}).find("unknown type \"carrier-pigeon\"; known: http, kafka"),
            std::string::npos);
  bad = good;
  bad.ca_file = "/nonexistent/ca.pem";
  EXPECT_NE(error_of({bad}).find("/nonexistent/ca.pem"), std::string::npos);
  bad = good;
  bad.headers = {{"X-Injected", "a\r\nHost: evil"}};
  EXPECT_NE(error_of({bad}).find("X-Injected"), std::string::npos);
}

// ---- TLS. Certificates come from the openssl command line.

class ForwarderTlsTest : public ForwarderTest {
 protected:
  ForwarderTlsTest() {
    char pattern[] = "/tmp/weir-tls-XXXXXX";
    directory = mkdtemp(pattern);
    make_certificate("good", "IP:127.0.0.1");
    make_certificate("other", "DNS:other.example");
  }
  ~ForwarderTlsTest() override {
    end();
    std::filesystem::remove_all(directory);
  }
  void make_certificate(const std::string& name, const std::string& subject) const {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=weir-test -addext subjectAltName=" +
        subject + " -keyout " + file(name + ".key") + " -out " + file(name + ".pem") +
        " 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  std::string file(const std::string& name) const { return directory + "/" + name; }
  FaultyServer::Tls tls(const std::string& name) const {
    return {file(name + ".pem"), file(name + ".key")};
  }

  std::string directory;
};

TEST_F(ForwarderTlsTest, ATrustedCertificateIsAccepted) {
  const FaultyServer::Tls good = tls("good");
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; }, &good);
  DestinationOptions options = destination("saas", server.url());
  options.ca_file = file("good.pem");
  start({options});
  store->append_many(3, "e");
  ASSERT_TRUE(all_sent("saas", 3));
}

TEST_F(ForwarderTlsTest, AWrongCertificateGetsNoEvent) {
  const FaultyServer::Tls good = tls("good");
  const FaultyServer::Tls other = tls("other");
  FaultyServer unknown([](const ServerRequest&) { return ServerAnswer{}; }, &good);
  FaultyServer misnamed([](const ServerRequest&) { return ServerAnswer{}; }, &other);
  DestinationOptions named = destination("misnamed", misnamed.url());
  named.ca_file = file("other.pem");
  start({destination("unknown", unknown.url()), named});
  store->append_many(3, "e");
  for (const char* lane : {"unknown", "misnamed"}) {
    ASSERT_TRUE(eventually([&] { return status(lane).attempts >= 2; })) << lane;
    EXPECT_NE(status(lane).last_error.find("SSL"), std::string::npos) << status(lane).last_error;
  }
  EXPECT_TRUE(unknown.requests().empty());
  EXPECT_TRUE(misnamed.requests().empty());
  EXPECT_EQ(store->lane("unknown")->shards[0].open.size(), 1u);  // they wait
}

TEST_F(ForwarderTlsTest, VerificationCanBeTurnedOff) {
  const FaultyServer::Tls other = tls("other");
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; }, &other);
  DestinationOptions options = destination("saas", server.url());
  options.verify_tls = false;
  start({options});
  store->append_many(3, "e");
  ASSERT_TRUE(all_sent("saas", 3));
}

}  // namespace
}  // namespace weir::forwarder::testing
