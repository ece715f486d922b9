// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/snapshot.h"

#include <catch2/catch_test_macros.hpp>

namespace plyfs::test {

TEST_CASE("a second try may come to another process", "[handover]") {
    TurnedAway before;
    CHECK(before.turn_away(7, 100));
    TurnedAway after;
    before.save([&](pid_t thread, NodeId node) { after.restore(thread, node); });
    CHECK(after.turn_away(7, 101));
    CHECK_FALSE(after.turn_away(7, 100));
}

TEST_CASE("who comes twice at once has come without a path", "[snapshot]") {
    TurnedAway turned_away;
    CHECK(turned_away.turn_away(7, 100));
    SECTION("and may stay then") {
        CHECK_FALSE(turned_away.turn_away(7, 100));
        CHECK(turned_away.turn_away(7, 100));
    }
    SECTION("not if it is another thread, or another node") {
        CHECK(turned_away.turn_away(7, 101));
        CHECK(turned_away.turn_away(8, 100));
        CHECK_FALSE(turned_away.turn_away(7, 101));
    }
    SECTION("not if it did something else in between") {
        turned_away.moved_on(100);
        CHECK(turned_away.turn_away(7, 100));
        turned_away.moved_on(100, 9);
        CHECK(turned_away.turn_away(7, 100));
        turned_away.moved_on(100, 7);
        turned_away.moved_on(101);
        CHECK_FALSE(turned_away.turn_away(7, 100));
    }
    SECTION("not if nobody knows who it is") {
        CHECK(turned_away.turn_away(7, 0));
        CHECK(turned_away.turn_away(7, 0));
    }
    SECTION("however many there are") {
        for (pid_t thread = 1000; thread < 3000; ++thread) {
            REQUIRE(turned_away.turn_away(7, thread));
        }
        for (pid_t thread = 1000; thread < 3000; ++thread) {
            REQUIRE_FALSE(turned_away.turn_away(7, thread));
        }
        CHECK_FALSE(turned_away.turn_away(7, 100));
    }
}

}  // namespace plyfs::test
