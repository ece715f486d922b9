// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/counts.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {

TEST_CASE("copy-ups are counted by what became of them", "[counts][layers]") {
    const std::string data(20'000, 'x');
    DrivenUnion u({kRw, kRo});
    for (const auto* const name : {"f", "g", "h"}) host_write(u.host(1, name), data);
    std::filesystem::create_directories(u.host(1, "d"));
    u.remount([](UnionOptions& options) { options.metacopy = true; });
    const auto copy_ups = [&] { return u.counts().copy_ups; };
    CHECK(copy_ups().made == 0);

    SECTION("with data") {
        REQUIRE(u.write("f", "new") == 0);  // cut off: the data are not wanted
        CHECK(copy_ups().made == 1);
        CHECK(copy_ups().metadata_only == 1);
        const auto opened = u.open("g", O_RDWR);
        REQUIRE(opened);
        u.verbs().release(opened->handle);
        CHECK(copy_ups().made == 2);
        CHECK(copy_ups().metadata_only == 1);
        CHECK(copy_ups().bytes_copied + copy_ups().bytes_cloned == data.size());
        CHECK(copy_ups().cloned == (copy_ups().bytes_cloned > 0 ? 1 : 0));
    }
    SECTION("without, and then with data") {
        REQUIRE(u.chmod("f", 0600) == 0);
        CHECK(copy_ups().made == 1);
        CHECK(copy_ups().metadata_only == 1);
        CHECK(copy_ups().bytes_copied + copy_ups().bytes_cloned == 0);
        const auto opened = u.open("f", O_RDWR);
        REQUIRE(opened);
        u.verbs().release(opened->handle);
        CHECK(copy_ups().made == 1);
        CHECK(copy_ups().filled == 1);
        CHECK(copy_ups().bytes_copied + copy_ups().bytes_cloned == data.size());
    }
    SECTION("as failed where the caller gave up") {
        const auto node = u.look("h");
        REQUIRE(node);
        Request request = u.request();
        std::uint64_t seen_running = 0;
        request.interrupted = [&] {
            seen_running = copy_ups().running;
            return true;
        };
        CHECK(u.verbs().open(request, node->node, O_RDWR, false).error() == EINTR);
        CHECK(seen_running == 1);
        CHECK(copy_ups().failed == 1);
        CHECK(copy_ups().made == 0);
    }
    SECTION("not of directories") {
        REQUIRE(u.chmod("d", 0700) == 0);
        CHECK(copy_ups().made == 0);
    }
    CHECK(copy_ups().running == 0);
}

TEST_CASE("nodes and open directories that are there already are counted", "[counts]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.mkdir("d") == 0);
    REQUIRE(u.mkdir("d/e") == 0);
    REQUIRE(u.write("d/e/f", "x") == 0);
    u.forget_all();
    u.remount();
    REQUIRE(u.look("d/e/f"));
    const UnionCounts first = u.counts();
    CHECK(first.nodes_made == 4);
    CHECK(first.directory_misses > 0);
    CHECK(first.directory_misses >= first.cached_directories);
    REQUIRE(u.look("d/e/f"));
    const UnionCounts second = u.counts();
    CHECK(second.nodes_made == 4);
    CHECK(second.nodes_found >= first.nodes_found + 3);
    CHECK(second.directory_hits > first.directory_hits);
    CHECK(second.directory_misses == first.directory_misses);
}

}  // namespace plyfs::test
