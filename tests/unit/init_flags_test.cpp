// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/init_flags.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstring>

namespace plyfs::test {

using session::add_init_flags;
using session::kProvisionalInitFlags;
using session::offered_init_flags;

namespace {

constexpr std::uint32_t kMagic = 0x9ac3f5e1;  // FUSE_PROVISIONAL_MAGIC
constexpr std::uint64_t kRebind = std::uint64_t{1} << 53;
constexpr auto kRebindWord = static_cast<std::uint32_t>(kRebind >> 32);

struct Provisional {
    std::uint32_t magic;
    std::uint32_t flags;
    bool operator==(const Provisional&) const = default;
};
constexpr std::size_t kProvisionalAt = 56;  // in both structures

template <typename Init>
void put(Init& init, Provisional provisional) {
    std::array<char, sizeof init> bytes{};
    std::memcpy(bytes.data(), &init, sizeof init);
    std::memcpy(bytes.data() + kProvisionalAt, &provisional, sizeof provisional);
    std::memcpy(&init, bytes.data(), sizeof init);
}

Provisional provisional_of(const fuse_init_out& init) {
    std::array<char, sizeof init> bytes{};
    std::memcpy(bytes.data(), &init, sizeof init);
    Provisional provisional{};
    std::memcpy(&provisional, bytes.data() + kProvisionalAt, sizeof provisional);
    return provisional;
}

}  // namespace

TEST_CASE("allocated INIT flags are offered in two words", "[init]") {
    fuse_init_in init{};
    init.flags = FUSE_ASYNC_READ;
    init.flags2 = 1U << 5;
    CHECK(offered_init_flags(init) == (FUSE_ASYNC_READ | (std::uint64_t{1} << 37)));
}

TEST_CASE("another kernel's use of the provisional INIT flags is not believed", "[init]") {
    fuse_init_in init{};
    init.flags2 = static_cast<std::uint32_t>(kProvisionalInitFlags >> 32);
    CHECK((offered_init_flags(init) & kProvisionalInitFlags) == 0);
    put(init, {kMagic + 1, kRebindWord});
    CHECK((offered_init_flags(init) & kProvisionalInitFlags) == 0);
}

TEST_CASE("provisional INIT flags count beside their magic number", "[init]") {
    fuse_init_in init{};
    init.flags2 = 1U << 5;
    put(init, {kMagic, kRebindWord | 1U});
    CHECK(offered_init_flags(init) == ((std::uint64_t{1} << 37) | kRebind));
}

TEST_CASE("an INIT answer has provisional flags apart from the others", "[init]") {
    fuse_init_out init{};
    init.flags = FUSE_ASYNC_READ;
    SECTION("none") {
        add_init_flags(init, std::uint64_t{1} << 34);
        CHECK(init.flags == (FUSE_ASYNC_READ | FUSE_INIT_EXT));
        CHECK(init.flags2 == 1U << 2);
        CHECK(provisional_of(init) == Provisional{0, 0});
    }
    SECTION("only those") {
        add_init_flags(init, kRebind);
        CHECK(init.flags == FUSE_ASYNC_READ);
        CHECK(init.flags2 == 0);
        CHECK(provisional_of(init) == Provisional{kMagic, kRebindWord});
    }
}

}  // namespace plyfs::test
