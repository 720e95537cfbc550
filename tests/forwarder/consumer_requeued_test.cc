// What is handed out once more: requeued dead letters, edited or not, and parts of the log.
#include <gmock/gmock.h>

#include "tests/forwarder/consumer_fixture.h"

namespace weir::forwarder::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class RequeuedTest : public ConsumerTest {
 protected:
  // An event that was rejected, and three that were acknowledged.
  void open_with_a_letter() {
    open();
    store->append_many(4, "e");
    ack(ask_lease().lease, {}, {{at(2), "bad"}});
    letter = letters().at(0).id;
  }
  void requeue() {
    store->requeue(letter);
    consumer->look_for_requeued();
    turn();
  }
  PullCall& replay(SeekTarget from, SeekTarget until) {
    PullCall& call = new_call(PullKind::kReplay);
    call.seek = std::move(from);
    call.until = std::move(until);
    consumer->replay(call);
    turn();
    return call;
  }
  static SeekTarget position(uint64_t number, uint16_t shard = 0) {
    SeekTarget target;
    target.kind = SeekTarget::Kind::kPositions;
    target.positions = {{shard, number}};
    return target;
  }

  uint64_t letter = 0;
};

TEST_F(RequeuedTest, ARequeuedDeadLetterIsHandedOutAndSentWhenAcknowledged) {
  open_with_a_letter();
  PullCall& waiting = ask_lease(10, 60'000);
  requeue();
  ASSERT_TRUE(answered(waiting));
  EXPECT_THAT(ids(waiting), ElementsAre("e1"));
  EXPECT_EQ(waiting.delivery, 1u);
  EXPECT_EQ(ack(waiting.lease).acked, 1u);
  EXPECT_TRUE(letters().empty());
  EXPECT_EQ(state().counts.failed, 0u);
  EXPECT_EQ(state().counts.sent, 4u);
  EXPECT_EQ(open_ranges(), 0u);
  EXPECT_TRUE(ask_lease().empty);
}

TEST_F(RequeuedTest, ItIsHandedOutAsItWasEditedAlsoWhenItsSegmentIsGone) {
  open_with_a_letter();
  store->edit(letter, make_payload({.id = "e1", .raw = "{\"fixed\":true}"}));
  store->lose(1, 4);
  requeue();
  EXPECT_THAT(ask_lease().body, HasSubstr("{\"fixed\":true}"));
}

TEST_F(RequeuedTest, ItsLeaseSurvivesARestartAndIsNotSharedAfterIt) {
  open_with_a_letter();
  requeue();
  PullCall& lease = ask_lease();
  crash();
  EXPECT_TRUE(ask_lease().empty);
  EXPECT_EQ(ack(lease.lease).acked, 1u);
  EXPECT_EQ(state().counts.sent, 4u);
  EXPECT_EQ(state().counts.failed, 0u);
}

TEST_F(RequeuedTest, RejectedAgainItIsTheSameDeadLetterWithMoreAttempts) {
  open_with_a_letter();
  requeue();
  ack(ask_lease().lease, {}, {{at(2), "still bad"}});
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].reason, "still_bad");
  EXPECT_EQ(letters()[0].attempts, 2u);
  EXPECT_FALSE(letters()[0].requeued);
  EXPECT_EQ(state().counts.failed, 1u);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(RequeuedTest, NackedItComesAgainAndExhaustedItFailsAgain) {
  consumer_options.max_deliveries = 2;
  open_with_a_letter();
  requeue();
  EXPECT_EQ(ack(ask_lease().lease, {{at(2), 1000}}).nacked, 1u);
  EXPECT_TRUE(ask_lease().empty);
  pass_ms(1000);
  PullCall& again = ask_lease();
  EXPECT_THAT(ids(again), ElementsAre("e1"));
  EXPECT_EQ(again.delivery, 2u);
  pass_ms(300'000);
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].reason, "max_deliveries");
  EXPECT_FALSE(letters()[0].requeued);
  EXPECT_EQ(state().counts.failed, 1u);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(RequeuedTest, DiscardedMeanwhileItIsNotHandedOut) {
  open_with_a_letter();
  requeue();
  store->discard(letter);
  EXPECT_TRUE(ask_lease().empty);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(RequeuedTest, LettersBeyondTheBoundOfRangesWaitTheirTurn) {
  consumer_options.max_open_ranges = 4;
  open();
  store->append_many(30, "e");
  std::vector<PullCall::Reject> rejects;
  for (uint64_t i = 1; i <= 30; ++i) rejects.push_back({at(i), "bad"});
  ack(ask_lease().lease, {}, rejects);
  for (const auto& one : letters()) store->requeue(one.id);
  consumer->look_for_requeued();
  turn();
  EXPECT_LE(open_ranges(), 4u);
  std::multiset<std::string> seen;
  for (int i = 0; i < 40; ++i) {
    PullCall& lease = ask_lease();
    if (lease.empty) break;
    for (const std::string& id : ids(lease)) seen.insert(id);
    ack(lease.lease);
  }
  EXPECT_EQ(seen.size(), 30u);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 30u);
  EXPECT_EQ(state().counts.sent, 30u);
}

TEST_F(RequeuedTest, ARangeSomebodyReopenedInTheStoreIsTakenUp) {
  open();
  store->append_many(5, "e");
  ack(ask_lease().lease);
  storage::OpenRange range;
  range.number = store->next_batch_number();
  range.first = 2;
  range.last = 3;
  store->reopen("central", range);
  EXPECT_TRUE(ask_lease().empty);
  consumer->look_for_requeued();
  turn();
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e1", "e2"));
}

TEST_F(RequeuedTest, AReplayHandsOutAPartOfTheLogOnceMore) {
  open();
  store->append_many(8, "e");
  ack(ask_lease(6).lease);
  EXPECT_EQ(replay(position(2), position(4)).events, 2u);
  PullCall& again = ask_lease();
  EXPECT_THAT(ids(again), ElementsAre("e1", "e2"));
  EXPECT_EQ(again.delivery, 1u);
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e6", "e7"));
}

TEST_F(RequeuedTest, AReplayLeavesOutWhatIsHeldOrComesAnyway) {
  open();
  store->append_many(8, "e");
  ack(ask_lease(3).lease);
  PullCall& held = ask_lease(2);
  SeekTarget end;
  end.kind = SeekTarget::Kind::kLatest;
  EXPECT_EQ(replay({}, end).events, 3u);
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e0", "e1", "e2"));
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e5", "e6", "e7"));
  EXPECT_EQ(ack(held.lease).acked, 2u);
}

TEST_F(RequeuedTest, AReplaySurvivesARestart) {
  open();
  store->append_many(4, "e");
  ack(ask_lease().lease);
  replay(position(1), position(3));
  crash();
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e0", "e1"));
}

TEST_F(RequeuedTest, OwnersOfRangesReadBack) {
  for (const RangeOwner& owner :
       {RangeOwner{0, 0, ""}, RangeOwner{0, 7, ""}, RangeOwner{0x2a, 0, "edge puller"},
        RangeOwner{0x2a, 0x7f, "x"}}) {
    const RangeOwner read = RangeOwner::parse(owner.text());
    EXPECT_EQ(read.lease, owner.lease);
    EXPECT_EQ(read.letter, owner.letter);
    EXPECT_EQ(read.holder, owner.holder);
  }
  for (const char* text : {"requeued", "/", "zz/7 x", " ", "-1"})
    EXPECT_EQ(RangeOwner::parse(text).lease, 0u) << text;
}

TEST_F(RequeuedTest, NotesReadBackAndDamagedOnesAreSaid) {
  ConsumerOptions written;
  written.sandbox = true;
  written.lease_ms = 1234;
  written.filter_tenants = {"a", "b"};
  std::deque<Ending> endings(kDurableEndings + 3);
  for (size_t i = 0; i < endings.size(); ++i) endings[i].lease = i + 1;
  const std::string note = encode_note(written, endings);
  EXPECT_LE(note.size(), storage::LaneState::kMaxNoteBytes);
  ConsumerOptions read;
  std::deque<Ending> found;
  ASSERT_TRUE(decode_note(note, &read, &found));
  EXPECT_TRUE(read.sandbox);
  EXPECT_EQ(read.lease_ms, 1234);
  EXPECT_EQ(read.filter_tenants, written.filter_tenants);
  ASSERT_EQ(found.size(), kDurableEndings);  // the latest
  EXPECT_EQ(found.back().lease, endings.size());
  for (size_t cut = 0; cut < note.size(); ++cut) {
    ConsumerOptions damaged;
    std::deque<Ending> some;
    EXPECT_FALSE(decode_note(note.substr(0, cut), &damaged, &some)) << cut;
  }
}

}  // namespace
}  // namespace weir::forwarder::testing
