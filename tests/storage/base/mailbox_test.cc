#include "storage/base/mailbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "storage/base/wakeup.h"

namespace weir {
namespace {

struct Item {
  int producer = 0;
  int number = 0;
  Item* next = nullptr;
};

TEST(Mailbox, KeepsTheOrderOfPushesAndChains) {
  Mailbox<Item> mailbox;
  Item a{0, 1}, b{0, 2}, c{0, 3};
  b.next = &c;
  EXPECT_TRUE(mailbox.push(&a));
  EXPECT_FALSE(mailbox.push_chain(&b, &c));
  std::vector<int> numbers;
  for (Item* item = mailbox.take_all(); item != nullptr; item = item->next)
    numbers.push_back(item->number);
  EXPECT_EQ(numbers, (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(mailbox.empty());
  EXPECT_EQ(mailbox.take_all(), nullptr);
}

TEST(Mailbox, ManyProducersLoseNothingAndKeepTheirOwnOrder) {
  constexpr int kProducers = 4;
  constexpr int kItems = 20'000;
  Mailbox<Item> mailbox;
  Wakeup wakeup;
  std::vector<std::vector<Item>> items(kProducers);
  std::vector<std::thread> threads;
  for (int p = 0; p < kProducers; ++p) {
    for (int i = 0; i < kItems; ++i) items[static_cast<size_t>(p)].push_back({p, i});
    threads.emplace_back([&, p] {
      for (Item& item : items[static_cast<size_t>(p)])
        if (mailbox.push(&item)) wakeup.notify();
    });
  }
  std::vector<int> expected(kProducers, 0);
  for (int seen = 0; seen < kProducers * kItems;) {
    ASSERT_TRUE(wakeup.wait(10'000'000'000)) << "a wake-up was lost";
    for (Item* item = mailbox.take_all(); item != nullptr; item = item->next, ++seen)
      ASSERT_EQ(item->number, expected[static_cast<size_t>(item->producer)]++);
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Wakeup, ANotificationBeforeTheWaitIsNotLostAndSeveralCountAsOne) {
  Wakeup wakeup;
  wakeup.notify();
  wakeup.notify();
  EXPECT_TRUE(wakeup.wait(0));
  EXPECT_FALSE(wakeup.wait(0));
  wakeup.notify();
  EXPECT_TRUE(wakeup.wait(0));
}

}  // namespace
}  // namespace weir
