// SPDX-License-Identifier: GPL-2.0-or-later
#include "passthrough/open_files.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <future>

namespace plyfs::passthrough::test {
namespace {

class Refusing final : public Registrar {
public:
    Result<BackingId> open_backing(int /*descriptor*/) override { return fail(EPERM); }
    void close_backing(BackingId /*id*/) override { ++closed; }
    int closed = 0;
};

}  // namespace

TEST_CASE("a refused registration is told while no lock is held", "[passthrough]") {
    constexpr std::uint64_t kNode = 7;
    Refusing registrar;
    int told = 0;
    const OpenFiles* asked = nullptr;
    bool answered = false;
    std::future<bool> other;
    OpenFiles files(registrar, [&](Errno error) {
        CHECK(error == EPERM);
        ++told;
        // Another thread that needs the same node goes on meanwhile.
        other = std::async(std::launch::async, [&] { return asked->written_unseen(kNode); });
        answered = other.wait_for(std::chrono::seconds(10)) == std::future_status::ready;
    });
    asked = &files;
    const auto attached = files.attach(kNode, {}, -1, true, true);
    REQUIRE(attached);
    CHECK(attached->mode == IoMode::Cached);
    CHECK(told == 1);
    CHECK(answered);
    CHECK_FALSE(other.get());
    CHECK(files.counts().refused == 1);
    CHECK(files.counts().cached_opens == 1);
    files.detach(kNode, true);
    CHECK(registrar.closed == 0);
}

}  // namespace plyfs::passthrough::test
