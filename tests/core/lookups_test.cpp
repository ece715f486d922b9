// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/lookups.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <new>

#include "core/driven_union.h"
#include "sys/fault.h"

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

TEST_CASE("whiteouts are looked for where they would hide something", "[lookup][layers]") {
    DrivenUnion u({kRw, kRo, kRo});
    for (const std::size_t branch : {1U, 2U}) {
        std::filesystem::create_directory(u.host(branch, "both"));
    }
    std::filesystem::create_directory(u.host(1, "middle"));
    std::filesystem::create_directory(u.host(2, "last"));
    host_write(u.host(1, "both/.wh.hidden"), "");
    host_write(u.host(2, "both/hidden"), "x");
    host_write(u.host(2, "last/.wh.none"), "");
    u.remount();
    const auto calls = [&](const std::string& directory, const std::string& name) {
        const NodeId parent = u.look(directory)->node;
        // Reads the marks of the directory.
        CHECK(u.verbs().lookup(parent, *Name::from("other")).error() == ENOENT);
        fault::arm(fault::Action::None, 0, 0);
        const auto entry = u.verbs().lookup(parent, *Name::from(name));
        const std::uint64_t made = fault::disarm();
        CHECK(entry.error() == ENOENT);
        return made;
    };
    CHECK(calls("last", "none") == 1);
    CHECK(calls("middle", "none") == 1);
    CHECK(calls("both", "none") == 3);
    CHECK(calls("both", "hidden") == 2);
}

}  // namespace plyfs::test
