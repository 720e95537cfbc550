// systemd's protocol: one datagram to the socket the environment names.
#include "collector/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace weir {
namespace {

class NotifyTest : public ::testing::Test {
 protected:
  NotifyTest() {
    char name[] = "/tmp/weir-notify-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/socket";
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~NotifyTest() override {
    unsetenv("NOTIFY_SOCKET");
    close(fd_);
    std::filesystem::remove_all(directory_);
  }
  std::string received() const {
    char text[256];
    const ssize_t size = recv(fd_, text, sizeof text, 0);
    return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
  }

  std::string directory_;
  std::string path_;
  int fd_ = -1;
};

TEST_F(NotifyTest, SaysItToTheSocket) {
  setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  EXPECT_TRUE(notify_systemd("READY=1").has_value());
  EXPECT_EQ(received(), "READY=1");
}

TEST_F(NotifyTest, WithoutSystemdNothingHappens) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(notify_systemd("READY=1").has_value());
  EXPECT_EQ(received(), "");
}

TEST_F(NotifyTest, ASocketThatIsGoneIsAnErrorNotACrash) {
  setenv("NOTIFY_SOCKET", (path_ + ".gone").c_str(), 1);
  EXPECT_FALSE(notify_systemd("READY=1").has_value());
  setenv("NOTIFY_SOCKET", "relative", 1);
  EXPECT_FALSE(notify_systemd("READY=1").has_value());
  setenv("NOTIFY_SOCKET", ("/" + std::string(200, 'x')).c_str(), 1);
  EXPECT_FALSE(notify_systemd("READY=1").has_value());
}

}  // namespace
}  // namespace weir
