// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/intent.h"

#include <catch2/catch_test_macros.hpp>

namespace plyfs::test {
namespace {

Place place(std::string parent, std::string name) {
    return {
        -1, std::move(parent), std::move(name), {77, {-5, 999'999'999}}, std::string("\0\x81 ", 3)};
}

Intent sample() {
    Intent intent;
    intent.mount = std::string(32, 'a');
    intent.home = std::string(32, 'b');
    intent.sequence = 18'000'000'000'000'000'000U;
    intent.ids = {std::string(32, 'b'), std::string(32, 'c')};
    const Identity one{1, {2, 3}};
    const Identity two{0xFFFF'FFFF'FFFF'FFFFU, {}};
    intent.plan.emplace_back(
        Move{0, place("", "a\nb"), place("d/e f", "\xff%"), one, Move::Mode::Exchange});
    intent.plan.emplace_back(Replace{1, place("x", "\""), place("", "ü"), one, two, true});
    intent.plan.emplace_back(Bury{0, place("d/\x01", "end 0"), two, false});
    return intent;
}

}  // namespace

TEST_CASE("an intent is read as it was written", "[intent]") {
    const Intent written = sample();
    const auto read = decode(encode(written));
    REQUIRE(read);
    CHECK(read->mount == written.mount);
    CHECK(read->home == written.home);
    CHECK(read->sequence == written.sequence);
    CHECK(read->ids == written.ids);
    REQUIRE(read->plan.size() == written.plan.size());
    const auto& move = std::get<Move>(read->plan[0]);
    CHECK(move.mode == Move::Mode::Exchange);
    CHECK(move.identity == Identity{1, {2, 3}});
    CHECK(move.from.name == "a\nb");
    CHECK(move.from.parent.empty());
    CHECK(move.from.directory == -1);
    CHECK(move.to.parent == "d/e f");
    CHECK(move.to.parent_handle == std::string("\0\x81 ", 3));
    CHECK(move.to.name == "\xff%");
    CHECK(move.to.parent_identity == Identity{77, {-5, 999'999'999}});
    const auto& replace = std::get<Replace>(read->plan[1]);
    CHECK(replace.branch == 1);
    CHECK(replace.victim_is_directory);
    CHECK(replace.victim.inode == 0xFFFF'FFFF'FFFF'FFFFU);
    const auto& bury = std::get<Bury>(read->plan[2]);
    CHECK(bury.place.name == "end 0");
    CHECK_FALSE(bury.is_directory);
    CHECK(encode(*read) == encode(written));
}

TEST_CASE("a damaged intent is not read", "[intent]") {
    const std::string text = encode(sample());
    SECTION("cut off") {
        for (std::size_t size = 0; size < text.size(); ++size) {
            CHECK_FALSE(decode(std::string_view(text).substr(0, size)));
        }
    }
    SECTION("one byte changed") {
        for (std::size_t at = 0; at < text.size(); ++at) {
            std::string changed = text;
            changed[at] = static_cast<char>(changed[at] ^ 1);
            CHECK_FALSE(decode(changed));
        }
    }
    SECTION("something behind it") {
        CHECK_FALSE(decode(text + "x"));
    }
    SECTION("zeros") {
        CHECK_FALSE(decode(std::string(4096, '\0')));
    }
}

TEST_CASE("a grave tells whose it is", "[intent]") {
    const Intent intent = sample();
    const auto owner = owner_of_grave(grave_name(intent, 2));
    REQUIRE(owner);
    CHECK(owner->home == intent.home);
    CHECK(owner->sequence == intent.sequence);
    CHECK_FALSE(owner_of_grave("grave.x"));
    CHECK_FALSE(owner_of_grave("copy.1"));
}

TEST_CASE("sequence numbers rise", "[intent]") {
    std::uint64_t last = 0;
    for (int turn = 0; turn < 1000; ++turn) {
        const std::uint64_t next = next_sequence();
        CHECK(next > last);
        last = next;
    }
}

}  // namespace plyfs::test
