// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/listers.h"

#include <catch2/catch_test_macros.hpp>
#include <thread>

namespace plyfs::session::test {
namespace {

using Wish = Listers::Wish;

constexpr pid_t kCaller = 100;

void list(Listers& listers, pid_t caller, std::uint32_t times) {
    for (; times > 0; --times) listers.listed(caller);
}

}  // namespace

TEST_CASE("who lists and asks for nothing wants names", "[listers]") {
    Listers listers;
    CHECK(listers.wish(kCaller) == Wish::Unknown);
    list(listers, kCaller, Listers::kTrials - 1);
    CHECK(listers.wish(kCaller) == Wish::Unknown);
    list(listers, kCaller, 1);
    CHECK(listers.wish(kCaller) == Wish::Names);
    SECTION("however often") {
        list(listers, kCaller, 100);
        CHECK(listers.wish(kCaller) == Wish::Names);
    }
    SECTION("until it asks") {
        listers.asked(kCaller);
        CHECK(listers.wish(kCaller) == Wish::Attributes);
    }
    SECTION("which says nothing of others") {
        CHECK(listers.wish(kCaller + 1) == Wish::Unknown);
    }
}

TEST_CASE("who asks wants attributes, and is tried again", "[listers]") {
    Listers listers;
    list(listers, kCaller, 1);
    listers.asked(kCaller);
    for (std::uint32_t listing = 0; listing < Listers::kTrusted; ++listing) {
        REQUIRE(listers.wish(kCaller) == Wish::Attributes);
        listers.listed(kCaller);
    }
    CHECK(listers.wish(kCaller) == Wish::Unknown);
    SECTION("it still does") {
        listers.listed(kCaller);
        listers.asked(kCaller);
        CHECK(listers.wish(kCaller) == Wish::Attributes);
    }
    SECTION("it no longer does") {
        list(listers, kCaller, Listers::kTrials);
        CHECK(listers.wish(kCaller) == Wish::Names);
    }
}

TEST_CASE("who asks without listing is not remembered", "[listers]") {
    Listers listers;
    list(listers, kCaller, Listers::kTrials);
    listers.asked(kCaller + static_cast<pid_t>(Listers::kCallers));
    CHECK(listers.wish(kCaller) == Wish::Names);
}

TEST_CASE("a caller takes the place of another one", "[listers]") {
    Listers listers;
    const pid_t other = kCaller + static_cast<pid_t>(Listers::kCallers);
    list(listers, kCaller, Listers::kTrials);
    CHECK(listers.wish(other) == Wish::Unknown);
    listers.listed(other);
    CHECK(listers.wish(other) == Wish::Unknown);
    CHECK(listers.wish(kCaller) == Wish::Unknown);
}

TEST_CASE("nothing is learnt of callers whom nobody can tell apart", "[listers]") {
    Listers listers;
    CHECK(listers.wish(0) == Wish::Unknown);
    list(listers, 0, Listers::kTrials);
    CHECK(listers.wish(0) == Wish::Unknown);
    listers.asked(0);
    CHECK(listers.wish(0) == Wish::Unknown);
}

// For ThreadSanitizer; whatever is lost, the end tells.
TEST_CASE("callers list and ask at once", "[listers]") {
    Listers listers;
    const auto act = [&](pid_t caller) {
        for (int round = 0; round < 1000; ++round) {
            listers.listed(caller);
            if (round % 5 == 0) listers.asked(caller);
            (void)listers.wish(caller);
        }
    };
    std::thread other(act, kCaller);
    act(kCaller);
    other.join();
    listers.listed(kCaller);
    listers.asked(kCaller);
    CHECK(listers.wish(kCaller) == Wish::Attributes);
}

}  // namespace plyfs::session::test
