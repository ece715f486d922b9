// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/lookups.h"

#include <catch2/catch_test_macros.hpp>
#include <new>

#include "core/driven_union.h"

namespace plyfs::test {

TEST_CASE("lookups of an answer that was not sent are given back", "[lookup]") {
    DrivenUnion u({kRw});
    host_write(u.host(0, "a"), "x");
    host_write(u.host(0, "b"), "x");
    const Name a = Name::from("a").value();
    const Name b = Name::from("b").value();
    const std::size_t nodes = u.counts().nodes;
    SECTION("when something throws in the middle") {
        try {
            Lookups lookups(u.verbs());
            REQUIRE(lookups.lookup(kRootNode, a));
            REQUIRE(lookups.lookup(kRootNode, b));
            CHECK(u.counts().nodes == nodes + 2);
            throw std::bad_alloc();
        } catch (const std::bad_alloc&) {
            CHECK(u.counts().nodes == nodes);
        }
    }
    SECTION("but not what was sent") {
        Lookups lookups(u.verbs());
        u.remember(lookups.lookup(kRootNode, a).value().node);
        lookups.sent();
        CHECK(lookups.lookup(kRootNode, Name::from("none").value()).error() == ENOENT);
    }
    CHECK(u.counts().nodes >= nodes);
}

}  // namespace plyfs::test
