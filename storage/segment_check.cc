#include "storage/segment_check.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "storage/base/event_record.h"
#include "storage/base/log.h"

namespace weir::storage {
namespace {

constexpr rlim_t kCpuSeconds = 300;  // a walk that runs in circles ends here
constexpr uint32_t kMaxMessage = uint32_t{64} << 20;

bool write_all(int fd, const char* from, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, from, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    from += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

bool read_all(int fd, char* to, size_t size) {
  while (size > 0) {
    const ssize_t got = read(fd, to, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool send_message(int fd, const std::string& message) {
  std::string framed;
  append_le(framed, static_cast<uint32_t>(message.size()));
  framed += message;
  return write_all(fd, framed.data(), framed.size());
}

bool receive_message(int fd, std::string* message) {
  char size[4];
  if (!read_all(fd, size, sizeof size)) return false;
  const auto bytes = load_le<uint32_t>(size);
  if (bytes > kMaxMessage) return false;
  message->resize(bytes);
  return read_all(fd, message->data(), bytes);
}

// answer := 1 summary | 0 text
std::string bad_answer(std::string_view text) { return '\0' + std::string(text); }

std::string walk_for(const std::string& request) {
  ByteReader reader(request);
  const auto access = static_cast<SegmentAccess>(reader.le<uint8_t>());
  const bool grammar = reader.le<uint8_t>() != 0;
  const auto shard = reader.le<uint16_t>();
  const auto first = reader.le<uint64_t>();
  const std::string path(reader.rest());
  EventFields fields;
  auto decodes = [&](std::string_view payload) { return decode_event_record(payload, &fields); };
  const FunctionRef<bool(std::string_view)> payload_sound(decodes);
  const SegmentWalk walk =
      walk_segment(path, shard, first, access, grammar ? &payload_sound : nullptr);
  if (!walk.problem.empty()) return bad_answer(walk.problem);
  std::string answer(1, '\1');
  append_summary(answer, walk.summary);
  return answer;
}

// A grandchild of the server: may die of what it reads.
[[noreturn]] void run_child(const std::string& request, int answer_to) {
  for (const int signal_number : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTERM})
    std::signal(signal_number, SIG_DFL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const rlimit cpu{kCpuSeconds, kCpuSeconds};
  setrlimit(RLIMIT_CPU, &cpu);
  const bool sent = send_message(answer_to, walk_for(request));
  _exit(sent ? 0 : 1);
}

std::string check_in_child(const std::string& request) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    run_child(request, ends[1]);
  }
  close(ends[1]);
  std::string answer;
  const bool answered = child > 0 && receive_message(ends[0], &answer);
  close(ends[0]);
  if (child < 0) return {};
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (answered && WIFEXITED(status) && WEXITSTATUS(status) == 0) return answer;
  if (WIFSIGNALED(status))
    return bad_answer(fmt::format("reading it ends in signal {}", WTERMSIG(status)));
  return bad_answer("reading it ends in an error");
}

// The helper process: one request at a time until the server is gone.
[[noreturn]] void run_helper(int socket) {
  prctl(PR_SET_NAME, "weir-check");
  // Ends with the server, not by itself: a signal to the whole group is the server's to handle.
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal_number, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);
  const int own = fcntl(socket, F_DUPFD, 3);
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  // Everything else goes, above all the lock of the data directory.
  if (own > 3) close_range(3, static_cast<unsigned>(own) - 1, 0);
  close_range(static_cast<unsigned>(own) + 1, ~0U, 0);
  std::string request;
  while (receive_message(own, &request))
    if (!send_message(own, check_in_child(request))) break;
  _exit(0);
}

}  // namespace

Result<std::unique_ptr<DamageCheck>> DamageCheck::start() {
  std::unique_ptr<DamageCheck> check(new DamageCheck);
  WEIR_RETURN_IF_ERROR(check->spawn());
  return check;
}

DamageCheck::~DamageCheck() { end(); }

Status DamageCheck::spawn() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno(errno, "cannot make a socket pair for the damage check");
  const pid_t helper = fork();
  if (helper == 0) run_helper(ends[1]);
  const int reason = errno;
  close(ends[1]);
  if (helper < 0) {
    close(ends[0]);
    return fail_errno(reason, "cannot fork the damage check");
  }
  socket_ = ends[0];
  helper_ = helper;
  return {};
}

void DamageCheck::end() {
  if (socket_ >= 0) close(socket_);
  if (helper_ > 0)
    while (waitpid(helper_, nullptr, 0) < 0 && errno == EINTR) continue;
  socket_ = -1;
  helper_ = -1;
}

bool DamageCheck::ask(const std::string& request, std::string* answer) {
  std::string framed;
  append_le(framed, static_cast<uint32_t>(request.size()));
  framed += request;
  size_t sent = 0;
  while (sent < framed.size()) {
    const ssize_t n = send(socket_, framed.data() + sent, framed.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return receive_message(socket_, answer);
}

Result<SegmentSummary> DamageCheck::check(const std::string& path, unsigned shard, uint64_t first,
                                          SegmentAccess access, bool grammar) {
  std::string request;
  append_le(request, static_cast<uint8_t>(access));
  append_le(request, static_cast<uint8_t>(grammar));
  append_le(request, static_cast<uint16_t>(shard));
  append_le(request, first);
  request += path;
  const std::lock_guard lock(mutex_);
  std::string answer;
  if (socket_ < 0 || !ask(request, &answer)) {
    // The helper was killed. The process has threads now, so the new one is forked with their
    // locks as they are; it uses none of them.
    log::warn("damage_check_restarted", {{"file", path}});
    end();
    WEIR_RETURN_IF_ERROR(spawn());
    if (!ask(request, &answer))
      return fail(ErrorCode::kUnavailable, "the damage check of {} died twice", path);
  }
  if (answer.empty())
    return fail(ErrorCode::kUnavailable, "no process could be made to check {}", path);
  const std::string_view rest = std::string_view(answer).substr(1);
  if (answer[0] == '\0') return fail(ErrorCode::kCorrupt, "{} is damaged: {}", path, rest);
  SegmentSummary summary;
  ByteReader reader(rest);
  if (!read_summary(reader, &summary))
    return fail(ErrorCode::kUnavailable, "the damage check of {} gave no answer", path);
  return summary;
}

}  // namespace weir::storage
