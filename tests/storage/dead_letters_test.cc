// Failed events on real files: two phases, one live letter per lane and position, files that go
// when everything in them is decided.
#include "storage/dead_letters.h"

#include <gmock/gmock.h>

#include <fstream>

#include "storage/disk.h"
#include "tests/storage/state_support.h"

namespace weir::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using Change = LaneUpdate::DeadLetterChange;

struct Letters {
  DeadLetters::Options options;
  ManualClock clock;
  MetricRegistry metrics;
  std::unique_ptr<DeadLetters> letters;
  uint64_t confirmed = 0;

  explicit Letters(const std::string& directory) {
    log::configure({log::Level::kError, log::Format::kLogfmt});
    options.directory = directory;
    options.store_id = StoreId::generate();
    options.max_letters = 1'000;
    open();
  }
  void open(bool keep_all = false) {
    letters.reset();
    auto opened =
        DeadLetters::open(options, keep_all ? DeadLetters::kKeepAll : confirmed, clock, metrics);
    ASSERT_TRUE(opened) << opened.error().message;
    letters = std::move(*opened);
  }
  DeadLetters::Effect apply(const LaneUpdate& update) {
    auto effect = letters->append(update);
    EXPECT_TRUE(effect) << effect.error().message;
    letters->confirm();
    confirmed = effect->mark;
    return *effect;
  }
  void fail_event(uint64_t number, const std::string& lane = "saas",
                  const std::string& reason = "http_400") {
    LaneUpdate update = update_of(lane);
    update.dead_letters = {letter_of(number, reason)};
    apply(update);
  }
  std::vector<uint64_t> numbers(const DeadLetterFilter& filter = {}) {
    std::vector<uint64_t> numbers;
    auto listed = letters->list(filter);
    EXPECT_TRUE(listed) << listed.error().message;
    for (const DeadLetter& letter : *listed) numbers.push_back(letter.position.number);
    return numbers;
  }
  uint64_t id_of(uint64_t number) {
    const auto listed = letters->list({});
    for (const DeadLetter& letter : *listed)
      if (letter.position.number == number) return letter.id;
    return 0;
  }
  void change(uint64_t number, Change::Kind kind, DeadLetter replacement = {}) {
    LaneUpdate update = update_of("saas");
    update.dead_letter_changes = {{id_of(number), kind, std::move(replacement)}};
    apply(update);
  }
};

TEST(DeadLetters, AreListedWithEverythingThatWasSaid) {
  TempDirectory directory;
  Letters l(directory.path());
  l.fail_event(7);
  l.open();
  const auto letter = l.letters->get(l.id_of(7));
  ASSERT_TRUE(letter);
  EXPECT_EQ(letter->lane, "saas");
  EXPECT_EQ(letter->position, (Position{0, 7}));
  EXPECT_EQ(letter->event_id, "event-7");
  EXPECT_EQ(letter->status, 400);
  EXPECT_EQ(letter->payload, "payload of 7");
  EXPECT_TRUE(l.letters->list({})->front().payload.empty());
  EXPECT_EQ(l.letters->get(999).error().code, ErrorCode::kNotFound);
}

TEST(DeadLetters, AreFilteredAndPaged) {
  TempDirectory directory;
  Letters l(directory.path());
  for (uint64_t n = 1; n <= 10; ++n) l.fail_event(n, n % 2 ? "a" : "b", n < 6 ? "x" : "y");
  DeadLetterFilter filter;
  filter.lane = "a";
  filter.limit = 2;
  EXPECT_THAT(l.numbers(filter), ElementsAre(1, 3));
  filter.after_id = l.letters->list(filter)->back().id;
  EXPECT_THAT(l.numbers(filter), ElementsAre(5, 7));
  filter = {};
  filter.reason = "y";
  filter.lane = "b";
  EXPECT_THAT(l.numbers(filter), ElementsAre(6, 8, 10));
  filter.tenant = "somebody else";
  EXPECT_THAT(l.numbers(filter), ElementsAre());
  EXPECT_THAT(l.letters->counts(), ElementsAre(Pair(Pair("a", "x"), 3), Pair(Pair("a", "y"), 2),
                                               Pair(Pair("b", "x"), 2), Pair(Pair("b", "y"), 3)));
}

TEST(DeadLetters, AreFilteredByNameIdAndTimeOfFailure) {
  TempDirectory directory;
  Letters l(directory.path());
  for (uint64_t n = 1; n <= 4; ++n) {
    LaneUpdate update = update_of("saas");
    DeadLetter letter = letter_of(n);
    letter.event_name = n % 2 ? "odd" : "even";
    letter.failed_ms = static_cast<int64_t>(n) * 1000;
    update.dead_letters = {letter};
    l.apply(update);
  }
  l.open();  // the index is built again from the files
  DeadLetterFilter filter;
  filter.name = "odd";
  EXPECT_THAT(l.numbers(filter), ElementsAre(1, 3));
  filter.since_ms = 2000;
  EXPECT_THAT(l.numbers(filter), ElementsAre(3));
  filter = {};
  filter.since_ms = 2000;
  filter.until_ms = 4000;
  EXPECT_THAT(l.numbers(filter), ElementsAre(2, 3));
  filter = {};
  filter.event_id = "event-4";
  EXPECT_THAT(l.numbers(filter), ElementsAre(4));
}

TEST(DeadLetters, TriesSinceTheRequeueAndItsTimeSurviveARestart) {
  TempDirectory directory;
  Letters l(directory.path());
  l.fail_event(7);
  l.clock.set_wall_ms(5'000);
  l.change(7, Change::Kind::kRequeued);
  auto letter = l.letters->get(l.id_of(7));
  EXPECT_TRUE(letter->requeued);
  EXPECT_EQ(letter->requeue_attempts, 0u);
  EXPECT_EQ(letter->requeued_ms, 5'000);
  DeadLetter progress;
  progress.requeue_attempts = 3;
  progress.requeued_ms = 5'000;
  l.change(7, Change::Kind::kRetried, progress);
  l.open();
  letter = l.letters->get(l.id_of(7));
  EXPECT_TRUE(letter->requeued);
  EXPECT_EQ(letter->requeue_attempts, 3u);
  EXPECT_EQ(letter->requeued_ms, 5'000);
  EXPECT_EQ(letter->attempts, 1u);  // counted in when it fails again
  DeadLetter again = letter_of(7, "http_500");
  again.attempts = 4;
  l.change(7, Change::Kind::kFailedAgain, again);
  letter = l.letters->get(l.id_of(7));
  EXPECT_FALSE(letter->requeued);
  EXPECT_EQ(letter->requeue_attempts, 0u);
  EXPECT_EQ(letter->attempts, 4u);
}

TEST(DeadLetters, WhatWasNotConfirmedIsDroppedAtStart) {
  TempDirectory directory;
  Letters l(directory.path());
  l.fail_event(1);
  LaneUpdate update = update_of("saas");
  update.dead_letters = {letter_of(2)};
  update.dead_letter_changes = {{l.id_of(1), Change::Kind::kDiscarded, {}}};
  ASSERT_TRUE(l.letters->append(update));
  EXPECT_THAT(l.numbers(), ElementsAre(1));  // not visible before it is confirmed
  l.open();                                  // as after a crash
  EXPECT_THAT(l.numbers(), ElementsAre(1));
  l.apply(update);
  l.open();
  EXPECT_THAT(l.numbers(), ElementsAre(2));
}

TEST(DeadLetters, WhatWasTakenBackIsGoneForGood) {
  TempDirectory directory;
  Letters l(directory.path());
  LaneUpdate update = update_of("saas");
  update.dead_letters = {letter_of(1)};
  ASSERT_TRUE(l.letters->append(update));
  l.letters->rollback();
  l.fail_event(2);
  l.open();
  EXPECT_THAT(l.numbers(), ElementsAre(2));
}

TEST(DeadLetters, AStateThatWasRestoredKeepsAll) {
  TempDirectory directory;
  Letters l(directory.path());
  l.fail_event(1);
  l.fail_event(2);
  l.confirmed = 0;  // the copy is older than both
  l.open(/*keep_all=*/true);
  EXPECT_THAT(l.numbers(), ElementsAre(1, 2));
}

TEST(DeadLetters, AnEventThatFailsTwiceHasOneLetter) {
  TempDirectory directory;
  Letters l(directory.path());
  l.fail_event(1);
  const uint64_t id = l.id_of(1);
  LaneUpdate again = update_of("saas");
  again.dead_letters = {letter_of(1, "http_422")};
  const auto effect = l.apply(again);
  EXPECT_THAT(effect.replaced, ElementsAre(Pair("t", 1)));
  l.open();
  EXPECT_THAT(l.numbers(), ElementsAre(1));
  EXPECT_EQ(l.id_of(1), id);
  EXPECT_EQ(l.letters->get(id)->reason, "http_422");
  l.fail_event(1, "another lane");
  EXPECT_EQ(l.letters->size(), 2u);
  EXPECT_EQ(l.letters->failed_at({0, 1}).size(), 2u);
}

TEST(DeadLetters, ChangesSurviveARestart) {
  TempDirectory directory;
  Letters l(directory.path());
  for (uint64_t n = 1; n <= 5; ++n) l.fail_event(n);
  l.change(1, Change::Kind::kSent);
  l.change(2, Change::Kind::kDiscarded);
  l.change(3, Change::Kind::kRequeued);
  DeadLetter edited = letter_of(99);
  edited.payload = "edited";
  edited.requeued = true;
  l.change(4, Change::Kind::kEdited, edited);
  DeadLetter again = letter_of(5, "http_500");
  again.attempts = 9;
  l.change(5, Change::Kind::kFailedAgain, again);
  for (int run = 0; run < 2; ++run) {
    EXPECT_THAT(l.numbers(), ElementsAre(3, 4, 5));
    EXPECT_TRUE(l.letters->get(l.id_of(3))->requeued);
    EXPECT_EQ(l.letters->get(l.id_of(4))->payload, "edited");
    EXPECT_TRUE(l.letters->get(l.id_of(4))->requeued);
    EXPECT_EQ(l.letters->get(l.id_of(5))->attempts, 9u);
    EXPECT_FALSE(l.letters->get(l.id_of(5))->requeued);
    l.open();
  }
}

TEST(DeadLetters, ADecisionMadeTwiceChangesNothing) {
  TempDirectory directory;
  Letters l(directory.path());
  l.fail_event(1);
  LaneUpdate update = update_of("saas");
  update.dead_letter_changes = {{l.id_of(1), Change::Kind::kDiscarded, {}}};
  EXPECT_EQ(l.apply(update).discarded.size(), 1u);
  EXPECT_EQ(l.apply(update).discarded.size(), 0u);
  update.lane = "other";
  l.fail_event(2);
  update.dead_letter_changes = {{l.id_of(2), Change::Kind::kDiscarded, {}}};
  EXPECT_EQ(l.letters->append(update).error().code, ErrorCode::kInvalidArgument);
}

TEST(DeadLetters, PastTheBoundTheLaneStopsInsteadOfLosing) {
  TempDirectory directory;
  Letters l(directory.path());
  l.options.max_letters = 2;
  l.open();
  l.fail_event(1);
  l.fail_event(2);
  LaneUpdate update = update_of("saas");
  update.dead_letters = {letter_of(3)};
  EXPECT_EQ(l.letters->append(update).error().code, ErrorCode::kLimit);
  LaneUpdate same = update_of("saas");
  same.dead_letters = {letter_of(2, "other")};  // takes the place of one that is there
  l.apply(same);
  l.change(1, Change::Kind::kDiscarded);
  l.apply(update);
  EXPECT_THAT(l.numbers(), ElementsAre(2, 3));
}

size_t files_in(const std::string& directory) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    files += entry.path().extension() == ".weir";
  return files;
}

TEST(DeadLetters, AFileWithNothingLiveGoes) {
  TempDirectory directory;
  Letters l(directory.path());
  l.options.file_bytes = 256 << 10;
  l.open();
  uint64_t number = 0;
  const auto fail_until = [&](size_t files) {
    while (files_in(directory.path()) < files) {
      DeadLetter letter = letter_of(++number);
      letter.payload = std::string(5'000, 'x');
      LaneUpdate update = update_of("saas");
      update.dead_letters = {letter};
      l.apply(update);
    }
  };
  fail_until(4);
  EXPECT_GT(l.letters->bytes(), 3u * 100'000);
  // All but one of the first file's letters are decided: the last one moves and the file goes.
  for (uint64_t n = 1; n < number; ++n)
    if (n != 3) l.change(n, n % 2 ? Change::Kind::kSent : Change::Kind::kDiscarded);
  EXPECT_LE(files_in(directory.path()), 2u);
  EXPECT_THAT(l.numbers(), ElementsAre(3, number));
  l.open();
  EXPECT_THAT(l.numbers(), ElementsAre(3, number));
  EXPECT_EQ(l.letters->get(l.id_of(3))->payload, std::string(5'000, 'x'));
}

TEST(DeadLetters, AnEventLargerThanAFileHasAFileOfItsOwn) {
  TempDirectory directory;
  Letters l(directory.path());
  l.options.file_bytes = 256 << 10;
  l.open();
  DeadLetter letter = letter_of(1);
  letter.payload = std::string(1 << 20, 'y');
  LaneUpdate update = update_of("saas");
  update.dead_letters = {letter};
  l.apply(update);
  l.fail_event(2);
  l.open();
  EXPECT_EQ(l.letters->get(l.id_of(1))->payload.size(), 1u << 20);
  EXPECT_EQ(l.numbers().size(), 2u);
}

TEST(DeadLetters, ADamagedFileIsSetAsideAndTheOthersGoOn) {
  TempDirectory directory;
  Letters l(directory.path());
  l.options.file_bytes = 256 << 10;
  l.open();
  uint64_t number = 0;
  while (files_in(directory.path()) < 2) {
    DeadLetter letter = letter_of(++number);
    letter.payload = std::string(5'000, 'x');
    LaneUpdate update = update_of("saas");
    update.dead_letters = {letter};
    l.apply(update);
  }
  l.letters.reset();
  {
    std::fstream file(directory.file("dead-1.weir"),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5 * 4096 + 700);
    file.put('\x5a');
  }
  EXPECT_FALSE(inspect_dead_letters(directory.path()).problems.empty());
  log::configure({log::Level::kError, log::Format::kLogfmt});
  l.open();
  EXPECT_THAT(l.numbers(), ElementsAre(number));
  EXPECT_TRUE(std::filesystem::exists(directory.file("damaged")));
  EXPECT_TRUE(inspect_dead_letters(directory.path()).problems.empty());
  double damaged = 0;
  for (const auto& series : l.metrics.collect())
    if (series.metric == Metric::kDamagedSegments) damaged += series.value;
  EXPECT_EQ(damaged, 1);
  l.fail_event(1);
  EXPECT_EQ(l.letters->size(), 2u);
}

}  // namespace
}  // namespace weir::storage
