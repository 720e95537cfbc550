// weir top: the live counters of a running server, a screen at a time. Thread: the main thread.
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "collector/cli/client.h"

namespace weir::cli {
namespace {

struct Flags {
  ClientFlags client;
  bool once = false;
  double interval_s = 1;
};

// Signals wait in a descriptor-free way: blocked, except while the screen waits for its next turn.
std::atomic<bool> g_ended{false};

struct Size {
  unsigned columns = 80;
  unsigned rows = 24;
};
Size terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return {};
  return {size.ws_col, size.ws_row};
}

// The alternate screen, and back to what was there before.
class Screen {
 public:
  explicit Screen(bool on) : on_(on) {
    if (on_) print("\x1b[?1049h\x1b[?25l");
  }
  ~Screen() {
    if (on_) print("\x1b[?25h\x1b[?1049l");
  }
  bool show(std::string_view text) {
    if (!on_) return print(std::string(text) + "\n");
    // Line by line, each cleared to its end: no flicker.
    std::string out = "\x1b[H";
    for (const char c : text) {
      if (c == '\n')
        out += "\x1b[K\r\n";
      else
        out.push_back(c);
    }
    while (out.ends_with("\r\n")) out.resize(out.size() - 2);
    return print(out + "\x1b[J");
  }

 private:
  const bool on_;
};

int top(const Flags& flags, bool json) {
  struct sigaction end {};
  end.sa_handler = [](int) { g_ended.store(true); };
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM}) {
    sigaction(number, &end, nullptr);
    sigaddset(&signals, number);
  }
  struct sigaction resized {};
  resized.sa_handler = [](int) {};  // ends the wait: the next screen has the new size
  sigaction(SIGWINCH, &resized, nullptr);
  sigaddset(&signals, SIGWINCH);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &signals, &before);

  HttpClient client = flags.client.client();
  const bool terminal = isatty(STDOUT_FILENO) == 1 && !flags.once && !json;
  const auto pause_ns = static_cast<int64_t>(flags.interval_s * 1e9);
  HttpAnswer answer;
  std::string trouble;
  {
    Screen screen(terminal);
    while (!g_ended.load()) {
      const Size size = terminal_size();
      const std::string path =
          json ? "/api/v1/live-counters"
               : fmt::format("/api/v1/top?columns={}&rows={}", size.columns, size.rows);
      auto sent = client.send({"GET", path, "", json ? "" : kText});
      if (!sent || sent->status != 200) {
        trouble = sent ? fmt::format("the server answers {}: {}", sent->status, sent->body)
                       : sent.error().message;
        break;
      }
      if (!(json ? print(sent->body + "\n") : screen.show(sent->body))) break;
      if (flags.once) break;
      const timespec pause{pause_ns / 1'000'000'000, pause_ns % 1'000'000'000};
      ppoll(nullptr, 0, &pause, &before);
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (trouble.empty()) return kDone;
  complain(trouble);
  return kFailed;
}

}  // namespace

void add_top(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "top", "Rates, latencies, destinations, lag and disk, live; plain text where no terminal is");
  flags->client.add_to(*verb);
  add_json_flag(*verb, context);
  verb->add_flag("--once", flags->once, "One look, then end");
  verb->add_option("--interval", flags->interval_s, "Seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  verb->callback([flags, &context] { context.exit_code = top(*flags, context.json); });
}

}  // namespace weir::cli
