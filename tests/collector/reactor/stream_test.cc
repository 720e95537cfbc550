// Streams over the real ring: what one connection can rely on, whatever the peer does.
#include "collector/reactor/stream.h"

#include <random>
#include <vector>

#include "tests/collector/reactor/loop_fixture.h"

namespace weir::reactor {
namespace {

class StreamTest : public LoopTest {};

TEST_F(StreamTest, EchoesWhatTheClientSends) {
  listen_and_echo();
  start();
  Client client(port());
  client.write("hello");
  EXPECT_EQ(client.read(5), "hello");
  client.shutdown_write();
  EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.eof, 1);
  EXPECT_EQ(seen_.errors, 0);
}

TEST_F(StreamTest, KeepsBytesInOrderHoweverTheyAreSplit) {
  listen_and_echo();
  start();
  Client client(port());
  const std::string bytes = pattern_bytes(300'000);
  std::thread reader([&] { EXPECT_EQ(client.read(bytes.size()), bytes); });
  std::mt19937 random(7);
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(1 + random() % 3000, bytes.size() - at);
    client.write(std::string_view(bytes).substr(at, size));
    at += size;
  }
  reader.join();
}

TEST_F(StreamTest, ServesThousandsOfConnectionsAtOnce) {
  listen_and_echo();
  start();
  constexpr int kConnections = 2000;
  std::vector<Client> clients;
  for (int i = 0; i < kConnections; ++i) clients.emplace_back(port());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kConnections; ++i) clients[i].write("m" + std::to_string(i * 7 + round));
    for (int i = 0; i < kConnections; ++i) {
      const std::string expected = "m" + std::to_string(i * 7 + round);
      ASSERT_EQ(clients[i].read(expected.size()), expected);
    }
  }
  EXPECT_EQ(seen_.opened, kConnections);
  clients.clear();
  EXPECT_TRUE(eventually([&] { return seen_.closed == kConnections; }));
  EXPECT_TRUE(eventually([&] { return metric(Metric::kConnectionsOpen) == 0; }));
  EXPECT_EQ(metric(Metric::kReactorStaleCompletions), 0);
}

TEST_F(StreamTest, ContinuesShortSendsToASlowReader) {
  constexpr size_t kSize = 8 << 20;
  const std::string big = pattern_bytes(kSize);
  class Sender : public EchoHandler {
   public:
    Sender(Stream& stream, Seen& seen, const std::string& big) : EchoHandler(stream, seen) {
      stream.send(big);
    }
    void on_sent() override {
      ++seen_.sent;
      stream_.close();
    }
  };
  listen([&](Stream& stream) { return new Sender(stream, seen_, big); });
  start();
  Client client(port(), 4096);
  std::string got = client.read(100'000);
  EXPECT_EQ(seen_.sent, 0);  // the rest does not fit the sockets' buffers
  got += client.read(kSize - got.size());
  EXPECT_TRUE(got == big);
  EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.sent, 1);
  EXPECT_EQ(metric(Metric::kSentBytes), kSize);
  stop();
}

// Pauses at the first byte; the test resumes it through the loop's wake-up.
class PausingHandler : public EchoHandler {
 public:
  PausingHandler(Stream& stream, Seen& seen) : EchoHandler(stream, seen) {}
  void on_data(std::string_view bytes) override {
    if (paused_) ++violations;
    if (!resumed_) {
      paused_ = true;
      stream_.pause_receiving();
    }
    EchoHandler::on_data(bytes);
  }
  void on_eof() override {
    if (paused_) ++violations;
    EchoHandler::on_eof();
  }
  void resume() {
    paused_ = false;
    resumed_ = true;
    stream_.resume_receiving();
  }
  std::atomic<int> violations{0};

 private:
  bool paused_ = false;
  bool resumed_ = false;
};

TEST_F(StreamTest, DeliversNothingWhilePausedAndEverythingInOrderAfterwards) {
  options_.receive_buffers = 64;
  options_.receive_buffer_bytes = 512;
  make_loop();
  std::atomic<PausingHandler*> handler{nullptr};
  listen([&](Stream& stream) { return handler = new PausingHandler(stream, seen_); });
  loop_->on_wakeup([&] {
    if (PausingHandler* paused = handler.exchange(nullptr)) paused->resume();
  });
  start();
  Client client(port());
  const std::string bytes = pattern_bytes(400'000);
  client.write(std::string_view(bytes).substr(0, 100));
  EXPECT_EQ(client.read(100), bytes.substr(0, 100));
  std::thread writer([&] {
    client.write(std::string_view(bytes).substr(100));
    client.shutdown_write();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(seen_.bytes, 100u);
  EXPECT_EQ(seen_.eof, 0);
  EXPECT_EQ(handler.load()->violations, 0);
  // What was taken from the socket while paused is bounded by the loop's buffers.
  EXPECT_LE(metric(Metric::kReceivedBytes), 100 + 2 * 64 * 512);
  loop_->wakeup().notify();
  EXPECT_EQ(client.read(bytes.size() - 100), bytes.substr(100));
  writer.join();
  EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.eof, 1);
  stop();
}

// Pauses and resumes within and between callbacks, at random.
TEST_F(StreamTest, KeepsOrderUnderRandomPausesAndResumes) {
  class Restless : public EchoHandler, private Timer {
   public:
    Restless(Stream& stream, Seen& seen, Loop& loop, uint32_t seed)
        : EchoHandler(stream, seen), loop_(loop), random_(seed) {}
    void on_data(std::string_view bytes) override {
      EXPECT_FALSE(paused_);
      switch (random_() % 4) {
        case 0:
          paused_ = true;
          stream_.pause_receiving();
          loop_.arm(*this, 1'000'000);
          break;
        case 1:
          stream_.pause_receiving();
          stream_.resume_receiving();
          break;
        default:
          break;
      }
      EchoHandler::on_data(bytes);
    }
    void on_eof() override {
      EXPECT_FALSE(paused_);
      EchoHandler::on_eof();
    }
    void on_timer() override {
      paused_ = false;
      stream_.resume_receiving();
    }

   private:
    Loop& loop_;
    std::mt19937 random_;
    bool paused_ = false;
  };
  options_.receive_buffers = 8;
  options_.receive_buffer_bytes = 1024;
  uint32_t seed = 0;
  listen([&](Stream& stream) { return new Restless(stream, seen_, *loop_, ++seed); });
  start();
  constexpr int kClients = 8;
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i)
    threads.emplace_back([this, i] {
      Client client(port());
      const std::string bytes = pattern_bytes(200'000, 100 + i);
      std::thread writer([&] {
        for (size_t at = 0; at < bytes.size(); at += 5000)
          client.write(std::string_view(bytes).substr(at, 5000));
        client.shutdown_write();
      });
      EXPECT_TRUE(client.read(bytes.size()) == bytes);
      EXPECT_TRUE(client.at_eof());
      writer.join();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(eventually([&] { return seen_.closed == kClients; }));
  EXPECT_EQ(seen_.errors, 0);
  stop();
}

TEST_F(StreamTest, ReportsAResetOnceAndThenCloses) {
  listen_and_echo();
  start();
  Client client(port());
  client.write("x");
  EXPECT_EQ(client.read(1), "x");
  client.reset();
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.errors, 1);
  EXPECT_EQ(seen_.last_error, ECONNRESET);
  EXPECT_EQ(seen_.eof, 0);
}

TEST_F(StreamTest, ReportsAResetWhilePausedWithNothingHeld) {
  listen([&](Stream& stream) {
    stream.pause_receiving();
    return new EchoHandler(stream, seen_);
  });
  start();
  Client client(port());
  ASSERT_TRUE(eventually([&] { return seen_.opened == 1; }));
  client.reset();
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.last_error, ECONNRESET);
}

TEST_F(StreamTest, DeliversHeldBytesBeforeTheResetBehindThem) {
  make_loop();
  Stream* paused = nullptr;
  loop_->on_wakeup([&] {
    if (Stream* stream = std::exchange(paused, nullptr)) stream->resume_receiving();
  });
  listen([&](Stream& stream) {
    paused = &stream;
    stream.pause_receiving();
    return new EchoHandler(stream, seen_);
  });
  start();
  Client client(port());
  client.write("kept");
  ASSERT_TRUE(eventually([&] { return metric(Metric::kReceivedBytes) == 4; }));
  client.reset();
  loop_->wakeup().notify();
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.bytes, 4u);
  EXPECT_EQ(seen_.errors, 1);
  stop();
}

TEST_F(StreamTest, StillSendsAfterThePeersEndOfStream) {
  class AnswerAtEof : public EchoHandler {
   public:
    using EchoHandler::EchoHandler;
    void on_data(std::string_view bytes) override { request_.append(bytes); }
    void on_eof() override {
      ++seen_.eof;
      answer_ = request_ + request_;
      stream_.send(answer_);
      stream_.shutdown_write();
    }
    void on_sent() override {
      ++seen_.sent;
      stream_.close();
    }

   private:
    std::string request_;
    std::string answer_;
  };
  listen([&](Stream& stream) { return new AnswerAtEof(stream, seen_); });
  start();
  Client client(port());
  client.write("twice ");
  client.shutdown_write();
  EXPECT_EQ(client.read(12), "twice twice ");
  EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.eof, 1);
}

TEST_F(StreamTest, StillReceivesAfterItsOwnEndOfStream) {
  class HalfClosing : public EchoHandler {
   public:
    using EchoHandler::EchoHandler;
    void on_data(std::string_view bytes) override {
      seen_.bytes += bytes.size();
      if (seen_.bytes > 1) return;
      stream_.send("bye");
      stream_.shutdown_write();
    }
    void on_eof() override {
      ++seen_.eof;
      stream_.close();
    }
  };
  listen([&](Stream& stream) { return new HalfClosing(stream, seen_); });
  start();
  Client client(port());
  client.write("1");
  EXPECT_EQ(client.read(10), "bye");
  client.write("23456");
  EXPECT_TRUE(eventually([&] { return seen_.bytes == 6u; }));
  EXPECT_EQ(seen_.closed, 0);
  client.close();
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.eof, 1);
}

TEST_F(StreamTest, ClosesWithASendInFlightWithoutTouchingItsBytesLater) {
  // The bytes are freed in on_closed(): AddressSanitizer sees a kernel that still holds them only
  // through wrong data, so the client also checks that what it got is a prefix.
  class Stuck : public EchoHandler {
   public:
    Stuck(Stream& stream, Seen& seen)
        : EchoHandler(stream, seen), big_(std::make_unique<std::string>(pattern_bytes(8 << 20))) {
      stream_.send(*big_);
    }
    void on_data(std::string_view) override {
      stream_.close();
      stream_.close();
    }
    void on_sent() override { ++seen_.sent; }
    void on_closed() override {
      big_->assign(big_->size(), 'X');
      big_.reset();
      EchoHandler::on_closed();
    }

   private:
    std::unique_ptr<std::string> big_;
  };
  listen([&](Stream& stream) { return new Stuck(stream, seen_); });
  start();
  Client client(port(), 4096);
  client.write("close");
  ASSERT_TRUE(eventually([&] { return seen_.closed == 1; }));
  const std::string got = client.read(8 << 20);
  EXPECT_LT(got.size(), size_t{8 << 20});
  EXPECT_TRUE(pattern_bytes(8 << 20).starts_with(got));
  EXPECT_EQ(seen_.sent, 0);
}

TEST_F(StreamTest, SendsAResetWhenAskedTo) {
  class Resetting : public EchoHandler {
   public:
    using EchoHandler::EchoHandler;
    void on_data(std::string_view) override {
      stream_.reset_on_close();
      stream_.close();
    }
  };
  listen([&](Stream& stream) { return new Resetting(stream, seen_); });
  start();
  Client client(port());
  client.write("x");
  EXPECT_FALSE(client.at_eof());
  EXPECT_EQ(client.last_errno(), ECONNRESET);
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
}

// Where close() is called from. Each must end in exactly one on_closed() and no call in between.
enum class Where { kFactory, kFactoryAfterSend, kData, kEof, kSent, kError, kTask };
class CloseFromTest : public LoopTest, public testing::WithParamInterface<Where> {};

class ClosingHandler : public StreamHandler, private Task {
 public:
  ClosingHandler(Stream& stream, Seen& seen, Loop& loop, Where where)
      : stream_(stream), seen_(seen), loop_(loop), where_(where) {
    if (where_ == Where::kFactory) close();
    if (where_ == Where::kFactoryAfterSend) {
      stream_.send("doomed");
      close();
    }
  }
  void on_data(std::string_view bytes) override {
    EXPECT_FALSE(closing_);
    if (where_ == Where::kData) close();
    if (where_ == Where::kTask) loop_.defer(*this);
    if (where_ == Where::kSent && !stream_.sending()) stream_.send("answer");
    seen_.bytes += bytes.size();
  }
  void on_eof() override {
    EXPECT_FALSE(closing_);
    if (where_ == Where::kEof) close();
  }
  void on_sent() override {
    EXPECT_FALSE(closing_);
    close();
  }
  void on_error(int) override {
    EXPECT_FALSE(closing_);
    close();
  }
  void on_closed() override {
    EXPECT_FALSE(in_close_);
    stream_.close();  // idempotent to the very end
    ++seen_.closed;
    delete this;
  }

 private:
  void run() override { close(); }
  void close() {
    closing_ = in_close_ = true;
    stream_.close();
    in_close_ = false;
  }

  Stream& stream_;
  Seen& seen_;
  Loop& loop_;
  Where where_;
  bool closing_ = false;
  bool in_close_ = false;
};

TEST_P(CloseFromTest, EndsInExactlyOneOnClosed) {
  listen([&](Stream& stream) { return new ClosingHandler(stream, seen_, *loop_, GetParam()); });
  start();
  constexpr int kConnections = 100;
  for (int i = 0; i < kConnections; ++i) {
    Client client(port());
    ::send(client.fd(), "data", 4, MSG_NOSIGNAL);
    if (GetParam() == Where::kError) {
      EXPECT_TRUE(eventually([&] { return seen_.bytes == 4u * (i + 1); }));
      client.reset();
    } else if (GetParam() == Where::kEof) {
      client.shutdown_write();
    }
    EXPECT_TRUE(eventually([&] { return seen_.closed == i + 1; }));
  }
  stop();
  EXPECT_EQ(seen_.closed, kConnections);
  EXPECT_EQ(metric(Metric::kConnectionsOpen), 0);
  EXPECT_EQ(metric(Metric::kReactorStaleCompletions), 0);
}

INSTANTIATE_TEST_SUITE_P(EveryCallback, CloseFromTest,
                         testing::Values(Where::kFactory, Where::kFactoryAfterSend, Where::kData,
                                         Where::kEof, Where::kSent, Where::kError, Where::kTask));

// An armed receive keeps a closed socket alive, and its number is given to the next connection:
// without the join protocol the next handler would get the first client's bytes.
TEST_F(StreamTest, NeverMixesUpConnectionsThatShareADescriptorNumber) {
  class Guard : public EchoHandler {
   public:
    Guard(Stream& stream, Seen& seen) : EchoHandler(stream, seen) {}
    void on_data(std::string_view bytes) override {
      for (char byte : bytes) {
        if (tag_ == 0) tag_ = byte;
        EXPECT_EQ(byte, tag_) << "bytes of another connection";
      }
      if ((tag_ & 1) != 0) stream_.close();  // while the client keeps sending
    }

   private:
    char tag_ = 0;
  };
  listen([&](Stream& stream) { return new Guard(stream, seen_); });
  start();
  constexpr int kConnections = 400;
  for (int i = 0; i < kConnections; ++i) {
    Client client(port());
    const std::string bytes(20, static_cast<char>(1 + i % 100));
    for (int n = 0; n < 5; ++n)
      if (::send(client.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) break;
  }
  EXPECT_TRUE(eventually([&] { return seen_.closed == kConnections; }));
  EXPECT_EQ(metric(Metric::kReactorStaleCompletions), 0);
}

TEST_F(StreamTest, ClosesWhatTheFactoryRefuses) {
  listen([](Stream&) { return nullptr; });
  start();
  Client client(port());
  EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return metric(Metric::kConnectionsOpen) == 0; }));
  EXPECT_EQ(metric(Metric::kConnectionsRefused, "handler"), 1);
}

// Two buffers for fifty busy connections: nearly every receive finds none.
TEST_F(StreamTest, ServesEverybodyFromTwoBuffers) {
  options_.receive_buffers = 2;
  options_.receive_buffer_bytes = 256;
  listen_and_echo();
  start();
  constexpr int kClients = 50;
  const std::string bytes = pattern_bytes(20'000);
  std::vector<Client> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(port());
  for (auto& client : clients) client.write(bytes);
  for (auto& client : clients) {
    ASSERT_TRUE(client.read(bytes.size()) == bytes);
    client.shutdown_write();
  }
  for (auto& client : clients) EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == kClients; }));
  EXPECT_EQ(seen_.errors, 0);
  EXPECT_GT(metric(Metric::kReactorStarved), 0);
}

}  // namespace
}  // namespace weir::reactor
