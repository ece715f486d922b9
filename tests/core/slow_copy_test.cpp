// SPDX-License-Identifier: GPL-2.0-or-later
//
// What goes on while a copy-up takes its time, who waits for it, and what happens without room.
#include <fcntl.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <latch>
#include <thread>

#include "core/driven_union.h"

namespace plyfs::test {
namespace {

// More than one piece of copyup/data.h.
constexpr std::size_t kBig = std::size_t{20} << 20;

// A union over a big lower file, whose copy stands still until it is let go on.
struct SlowCopy {
    SlowCopy() {
        std::filesystem::create_directories(u.host(1, "d"));
        host_write(u.host(1, "d/big"), std::string(kBig, 'x'));
        host_write(u.host(1, "d/small"), "small");
        big = u.look("d/big")->node;
    }

    // Asked by the copying thread between two pieces.
    Request slow_request() {
        Request request = u.request();
        request.interrupted = [this] {
            if (!begun.test_and_set()) {
                begun.notify_all();
                go_on.wait();
            }
            return cancel.load();
        };
        return request;
    }

    // Opens the big file for writing in a thread of its own.
    std::thread start(int& outcome, HandleId& handle) {
        return std::thread([this, &outcome, &handle, request = slow_request()] {
            const auto opened = u.verbs().open(request, big, O_WRONLY, false);
            outcome = code(opened);
            handle = opened ? opened->handle : 0;
        });
    }

    DrivenUnion u{{kRw, kRo}};
    NodeId big = 0;
    std::atomic_flag begun;
    std::latch go_on{1};
    std::atomic<bool> cancel{false};
};

bool nothing_at_work(DrivenUnion& u) {
    const std::string mount = u.verbs().branches()[0]->work().mount();
    return std::filesystem::is_empty(u.host(0, std::filesystem::path(".plyfs") / "work" / mount));
}

}  // namespace

TEST_CASE("a slow copy holds up its own file only", "[layers][slow]") {
    SlowCopy slow;
    DrivenUnion& u = slow.u;
    int outcome = -1;
    HandleId handle = 0;
    std::thread copier = slow.start(outcome, handle);
    slow.begun.wait(false);

    CHECK(u.stat("d/big")->size == kBig);
    CHECK(u.names("d") == std::vector<std::string>{"big", "small"});
    CHECK(u.write("d/small", "changed") == 0);
    CHECK(u.write("d/new", "new") == 0);
    CHECK(u.rename("d/new", "d/newer") == 0);
    CHECK(u.read("d/big")->size() == kBig);

    slow.go_on.count_down();
    copier.join();
    CHECK(outcome == 0);
    u.verbs().release(handle);
    CHECK(std::filesystem::file_size(u.host(0, "d/big")) == kBig);
}

TEST_CASE("who needs a copy that is being made waits for it", "[layers][slow]") {
    SlowCopy slow;
    DrivenUnion& u = slow.u;
    int first = -1;
    HandleId first_handle = 0;
    std::thread copier = slow.start(first, first_handle);
    slow.begun.wait(false);

    int second = -1;
    HandleId second_handle = 0;
    std::thread waiter([&] {
        const auto opened = u.verbs().open(u.request(), slow.big, O_WRONLY, false);
        second = code(opened);
        second_handle = opened ? opened->handle : 0;
    });
    SECTION("and can be interrupted") {
        Request request = u.request();
        request.interrupted = [] { return true; };
        CHECK(code(u.verbs().open(request, slow.big, O_WRONLY, false)) == EINTR);
    }
    slow.go_on.count_down();
    copier.join();
    waiter.join();
    CHECK(first == 0);
    CHECK(second == 0);
    for (const HandleId handle : {first_handle, second_handle}) u.verbs().release(handle);
    // One copy, in its place.
    CHECK(std::filesystem::file_size(u.host(0, "d/big")) == kBig);
    CHECK(nothing_at_work(u));
}

TEST_CASE("a copy that is interrupted leaves nothing", "[layers][slow]") {
    SlowCopy slow;
    DrivenUnion& u = slow.u;
    slow.cancel = true;
    slow.go_on.count_down();
    CHECK(code(u.verbs().open(slow.slow_request(), slow.big, O_WRONLY, false)) == EINTR);
    CHECK_FALSE(exists(u.host(0, "d/big")));
    CHECK(nothing_at_work(u));
    CHECK(u.read("d/big")->size() == kBig);
    slow.cancel = false;
    CHECK(u.chmod("d/big", 0600) == 0);
}

TEST_CASE("a copy goes to the next branch where one has no room", "[layers][space]") {
    const ScratchFileSystem full(FileSystemKind::Tmpfs, std::size_t{2} << 20);
    const ScratchDirectory lower;
    host_write(lower.path() + "/big", std::string(std::size_t{8} << 20, 'x'));
    SECTION("that has it") {
        const ScratchDirectory roomy;
        DrivenUnion u({{BranchMode::ReadWrite, full.path()},
                       {BranchMode::ReadWrite, roomy.path()},
                       {BranchMode::ReadOnly, lower.path()}});
        REQUIRE(u.chmod("big", 0600) == 0);
        CHECK(exists(roomy.path() + "/big"));
        CHECK_FALSE(exists(full.path() + "/big"));
        CHECK(u.read("big")->size() == (std::size_t{8} << 20));
    }
    SECTION("and fails where none has") {
        DrivenUnion u({{BranchMode::ReadWrite, full.path()}, {BranchMode::ReadOnly, lower.path()}});
        CHECK(u.chmod("big", 0600) == ENOSPC);
        CHECK_FALSE(exists(full.path() + "/big"));
        CHECK(nothing_at_work(u));
        CHECK(u.read("big")->size() == (std::size_t{8} << 20));
        // Cutting it off takes no room.
        CHECK(u.write("big", "small") == 0);
        CHECK(*u.read("big") == "small");
        // What is removed takes none either, however full the disk is.
        host_write(lower.path() + "/other", "text");
        full.fill();
        CHECK(u.unlink("other") == 0);
        CHECK(code(u.look("other")) == ENOENT);
    }
}

}  // namespace plyfs::test
