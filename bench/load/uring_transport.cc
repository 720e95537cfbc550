// Client connections over io_uring: one enter per turn for any number of sends, multishot receives
// into a provided-buffer ring.

#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "bench/load/transport.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"

namespace weir::bench {
namespace {

enum class Operation : uint8_t { kConnect, kSend, kReceive };

constexpr unsigned kBuffers = 4096;  // a power of two
constexpr unsigned kBufferBytes = 2048;
constexpr unsigned kEntries = 4096;

// user_data: generation (32 bits), connection (24 bits), operation (8 bits). The generation tells a
// completion of an earlier life of the connection from one of this.
uint64_t pack(uint32_t generation, unsigned connection, Operation operation) {
  return uint64_t{generation} << 32 | uint64_t{connection} << 8 | static_cast<uint64_t>(operation);
}

class UringTransport : public Transport {
 public:
  UringTransport(const LoadOptions& options, unsigned connections, TransportHandler& handler)
      : url_(options.url), handler_(handler), connections_(connections) {}

  ~UringTransport() override {
    for (Connection& connection : connections_)
      if (connection.fd >= 0) close(connection.fd);
    if (ready_) io_uring_queue_exit(&ring_);
    if (buffer_ring_ != nullptr) munmap(buffer_ring_, kBuffers * sizeof(io_uring_buf));
  }

  Status start() {
    WEIR_ASSIGN_OR_RETURN(address_, resolve(url_));
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    params.cq_entries = kEntries * 4;
    const int code = io_uring_queue_init_params(kEntries, &ring_, &params);
    if (code < 0) return fail_errno(-code, "io_uring is not available");
    ready_ = true;
    return add_buffers();
  }

  void connect(unsigned index) override {
    Connection& connection = connections_[index];
    WEIR_CHECK(connection.fd < 0);
    auto fd = make_client_socket(address_);
    if (!fd) {
      handler_.on_disconnected(index, fd.error().os_errno);
      return;
    }
    connection.fd = *fd;
    ++connection.generation;
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_connect(sqe, connection.fd, reinterpret_cast<sockaddr*>(address_.storage),
                          address_.size);
    io_uring_sqe_set_data64(sqe, pack(connection.generation, index, Operation::kConnect));
  }

  void send(unsigned index, std::string_view bytes) override {
    Connection& connection = connections_[index];
    connection.unsent = bytes;
    submit_send(index);
  }

  void poll(int64_t until_ns) override {
    const int64_t wait_ns = until_ns - Clock::system().monotonic_ns();
    io_uring_cqe* cqe = nullptr;
    if (wait_ns > 0) {
      __kernel_timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
      io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
    } else {
      io_uring_submit_and_get_events(&ring_);
    }
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      handle(*cqe);
      ++seen;
    }
    io_uring_cq_advance(&ring_, seen);
    if (returned_ > 0) {
      io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(returned_));
      returned_ = 0;
    }
  }

  std::string_view name() const override { return "io_uring"; }

 private:
  struct Connection {
    int fd = -1;
    uint32_t generation = 0;
    std::string_view unsent;
  };

  Status add_buffers() {
    void* memory = mmap(nullptr, kBuffers * sizeof(io_uring_buf), PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    WEIR_CHECK(memory != MAP_FAILED);
    buffer_ring_ = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(memory);
    registration.ring_entries = kBuffers;
    const int code = io_uring_register_buf_ring(&ring_, &registration, 0);
    if (code < 0) return fail_errno(-code, "io_uring has no provided-buffer rings (kernel 5.19)");
    buffers_.resize(size_t{kBuffers} * kBufferBytes);
    io_uring_buf_ring_init(buffer_ring_);
    for (unsigned i = 0; i < kBuffers; ++i) add_buffer(i, i);
    io_uring_buf_ring_advance(buffer_ring_, kBuffers);
    return {};
  }

  void add_buffer(unsigned id, unsigned offset) {
    io_uring_buf_ring_add(buffer_ring_, buffers_.data() + size_t{id} * kBufferBytes, kBufferBytes,
                          static_cast<uint16_t>(id), io_uring_buf_ring_mask(kBuffers),
                          static_cast<int>(offset));
  }

  io_uring_sqe* next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }

  void submit_send(unsigned index) {
    Connection& connection = connections_[index];
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_send(sqe, connection.fd, connection.unsent.data(), connection.unsent.size(),
                       MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, pack(connection.generation, index, Operation::kSend));
  }

  void arm_receive(unsigned index) {
    Connection& connection = connections_[index];
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, connection.fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, pack(connection.generation, index, Operation::kReceive));
  }

  void disconnect(unsigned index, int os_errno) {
    Connection& connection = connections_[index];
    if (connection.fd < 0) return;
    shutdown(connection.fd, SHUT_RDWR);  // ends the armed receive; its completion is stale then
    close(connection.fd);
    connection.fd = -1;
    ++connection.generation;
    handler_.on_disconnected(index, os_errno);
  }

  void handle(const io_uring_cqe& cqe) {
    const auto index = static_cast<unsigned>(cqe.user_data >> 8 & 0xffffff);
    Connection& connection = connections_[index];
    const bool stale = static_cast<uint32_t>(cqe.user_data >> 32) != connection.generation;
    switch (static_cast<Operation>(cqe.user_data & 0xff)) {
      case Operation::kConnect:
        if (stale) return;
        if (cqe.res < 0) return disconnect(index, -cqe.res);
        arm_receive(index);
        handler_.on_connected(index);
        return;
      case Operation::kSend:
        if (stale) return;
        if (cqe.res < 0) return disconnect(index, -cqe.res);
        connection.unsent.remove_prefix(static_cast<size_t>(cqe.res));
        if (connection.unsent.empty())
          handler_.on_sent(index);
        else
          submit_send(index);
        return;
      case Operation::kReceive:
        receive(cqe, index, stale);
        return;
    }
  }

  void receive(const io_uring_cqe& cqe, unsigned index, bool stale) {
    if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
      const unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
      if (!stale && cqe.res > 0)
        handler_.on_data(
            index, {buffers_.data() + size_t{id} * kBufferBytes, static_cast<size_t>(cqe.res)});
      add_buffer(id, returned_++);
    }
    const bool still_ours =
        !stale && static_cast<uint32_t>(cqe.user_data >> 32) == connections_[index].generation;
    if (!still_ours) return;
    if (cqe.res == 0) return disconnect(index, 0);
    if (cqe.res < 0 && cqe.res != -ENOBUFS) return disconnect(index, -cqe.res);
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) arm_receive(index);
  }

  Url url_;
  TransportHandler& handler_;
  std::vector<Connection> connections_;
  ResolvedAddress address_;
  io_uring ring_{};
  bool ready_ = false;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::vector<char> buffers_;
  unsigned returned_ = 0;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_uring_transport(const LoadOptions& options,
                                                        unsigned connections,
                                                        TransportHandler& handler) {
  auto transport = std::make_unique<UringTransport>(options, connections, handler);
  WEIR_RETURN_IF_ERROR(transport->start());
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace weir::bench
