// SPDX-License-Identifier: GPL-2.0-or-later
#include "passthrough/open_files.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <future>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace plyfs::passthrough::test {
namespace {

using enum IoMode;

class Refusing final : public Registrar {
public:
    Result<BackingId> open_backing(int /*descriptor*/, BackingUse /*use*/) override {
        return fail(EPERM);
    }
    std::uint32_t close_backing(BackingId /*id*/) override {
        ++closed;
        return 0;
    }
    Result<void> rebind_backing(BackingId /*id*/, int /*descriptor*/) override {
        return fail(EOPNOTSUPP);
    }
    int closed = 0;
};

// The kernel's side: which ids are registered.
class Counting final : public Registrar {
public:
    Result<BackingId> open_backing(int /*descriptor*/, BackingUse use) override {
        const Lock lock(mutex_);
        if (refuse) return fail(EMFILE);
        ++registered;
        if (use == BackingUse::Lasting) ++lasting_ones;
        open_.insert(++last_);
        return last_;
    }
    std::uint32_t close_backing(BackingId id) override {
        const Lock lock(mutex_);
        if (open_.erase(id) != 1) ++wrong;
        return 0;
    }
    Result<void> rebind_backing(BackingId id, int /*descriptor*/) override {
        const Lock lock(mutex_);
        if (refuse) return fail(ENFILE);
        if (!open_.contains(id)) ++wrong;
        ++rebound;
        return {};
    }
    std::size_t open() const {
        const Lock lock(mutex_);
        return open_.size();
    }
    std::atomic<bool> refuse{false};
    std::atomic<int> registered{0};
    std::atomic<int> lasting_ones{0};
    std::atomic<int> rebound{0};
    std::atomic<int> wrong{0};  // closed or rebound without being open

private:
    mutable Mutex mutex_;
    BackingId last_ GUARDED_BY(mutex_) = 0;
    std::set<BackingId> open_ GUARDED_BY(mutex_);
};

RealId real(std::uint64_t inode) {
    return {.device = 1, .inode = inode, .birth = {}};
}

Opening opening(std::uint64_t node, IoMode wanted, bool may_map = false) {
    Opening result;
    result.node = node;
    result.real = real(node);
    result.descriptor = 0;
    result.writes = may_map;
    result.may_map = may_map;
    result.wanted = wanted;
    return result;
}

Version version(std::uint64_t size) {
    Attributes attributes;
    attributes.size = size;
    return Version(attributes);
}

}  // namespace

TEST_CASE("the mode of an open beside each other state", "[passthrough]") {
    const RealId one = real(1);
    const RealId other = real(2);
    const auto open_as = [&](IoMode mode) { return std::optional(OpenState{mode, one}); };
    // Not open.
    CHECK(decide({}, false, one, Passthrough) == Decision::Register);
    CHECK(decide({}, false, one, Cached) == Decision::Cached);
    CHECK(decide({}, false, one, Direct) == Decision::Direct);
    // Passed through before: a mapping may be left.
    CHECK(decide({}, true, one, Passthrough) == Decision::Register);
    CHECK(decide({}, true, one, Cached) == Decision::Register);
    CHECK(decide({}, true, one, Direct) == Decision::Direct);
    CHECK(decide({}, true, one, Cached, false) == Decision::Direct);
    CHECK(decide({}, false, one, Cached, false) == Decision::Cached);
    for (const bool passed : {false, true}) {
        CHECK(decide(open_as(Cached), passed, one, Passthrough) == Decision::Cached);
        CHECK(decide(open_as(Cached), passed, one, Cached) == Decision::Cached);
        CHECK(decide(open_as(Cached), passed, one, Direct) == Decision::Direct);
        // The inode changes by a copy-up that readers follow.
        CHECK(decide(open_as(Cached), passed, other, Passthrough) == Decision::Cached);
        for (const IoMode wanted : {Passthrough, Cached, Direct}) {
            CHECK(decide(open_as(Passthrough), passed, one, wanted) ==
                  (wanted == Direct ? Decision::Busy : Decision::Share));
            CHECK(decide(open_as(Passthrough), passed, other, wanted) == Decision::Stale);
        }
        CHECK(decide(open_as(Direct), passed, one, Passthrough) == Decision::Register);
        CHECK(decide(open_as(Direct), passed, one, Direct) == Decision::Direct);
    }
    CHECK(decide(open_as(Direct), false, one, Cached) == Decision::Cached);
    CHECK(decide(open_as(Direct), true, one, Cached) == Decision::Register);
}

TEST_CASE("who follows a copy-up in passthrough is moved to the copy only", "[passthrough]") {
    const RealId lower = real(1);
    const RealId copy = real(2);
    const std::optional followed(OpenState{Passthrough, lower, true});
    const std::optional kept(OpenState{Passthrough, lower, false});
    for (const IoMode wanted : {Passthrough, Cached, Direct}) {
        CHECK(decide(followed, true, copy, wanted, true, true) == Decision::Move);
        // Another file of a read-only branch; a reader that keeps what it opened.
        CHECK(decide(followed, true, copy, wanted, true, false) == Decision::Stale);
        CHECK(decide(kept, true, copy, wanted, true, true) == Decision::Stale);
    }
    CHECK(decide(followed, true, lower, Passthrough, true, true) == Decision::Share);
    // What is cached follows by itself.
    const std::optional cached(OpenState{Cached, lower, true});
    CHECK(decide(cached, false, copy, Passthrough, true, true) == Decision::Cached);
}

TEST_CASE("readers move to the copy of their file", "[passthrough]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    Opening reader = opening(1, Passthrough);
    reader.follows = true;
    Opening writer = opening(1, Passthrough, true);
    writer.real = real(2);
    writer.copied = true;
    const auto first = files.attach(reader);
    REQUIRE(first);

    SECTION("when it is opened") {
        // As long as that is not possible, nobody gets to write.
        kernel.refuse = true;
        CHECK(files.attach(writer).error() == ENFILE);
        kernel.refuse = false;
        const auto second = files.attach(writer);
        REQUIRE(second);
        CHECK(second->backing_id == first->backing_id);
        CHECK(second->mode == Passthrough);
        // The copy is what is shared now: a reader that found the lower file has to look again.
        CHECK(files.attach(reader).error() == ESTALE);
        writer.writes = writer.may_map = false;
        REQUIRE(files.attach(writer));
        files.detach(1, false);
        files.detach(1, true);
    }
    SECTION("when it was truncated by path") {
        kernel.refuse = true;
        CHECK(files.follow(writer).error() == ENFILE);
        kernel.refuse = false;
        CHECK(files.follow(writer));
        CHECK(files.follow(writer));
    }
    CHECK(kernel.rebound == 1);
    CHECK(files.counts().rebound == 1);
    files.detach(1, false);
    CHECK(kernel.open() == 0);
    CHECK(kernel.wrong == 0);
    // Nobody is left who could move.
    CHECK(files.follow(opening(1, Passthrough)));
    CHECK(kernel.rebound == 1);
}

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
        other = std::async(std::launch::async,
                           [&] { return asked->unseen_writes(kNode) != UnseenWrites::None; });
        answered = other.wait_for(std::chrono::seconds(10)) == std::future_status::ready;
    });
    asked = &files;
    const auto attached = files.attach(opening(kNode, Passthrough, true));
    REQUIRE(attached);
    CHECK(attached->mode == Cached);
    CHECK(told == 1);
    CHECK(answered);
    CHECK_FALSE(other.get());
    CHECK(files.counts().refused == 1);
    CHECK(files.counts().refused_by == RefusalCounts{1});
    CHECK(files.counts().registrations == 0);
    CHECK(files.counts().cached_opens == 1);
    CHECK_FALSE(files.detach(kNode, true));
    CHECK(registrar.closed == 0);
}

TEST_CASE("opens of one file share a backing until the last close", "[passthrough]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    const auto first = files.attach(opening(1, Passthrough));
    const auto second = files.attach(opening(1, Cached, true));
    REQUIRE(first);
    REQUIRE(second);
    CHECK(second->mode == Passthrough);
    CHECK(first->backing_id == second->backing_id);
    CHECK(kernel.open() == 1);
    Opening other = opening(1, Passthrough);
    other.real = real(2);
    const auto refused = files.attach(other);
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == ESTALE);
    files.detach(1, false);
    CHECK(kernel.open() == 1);
    files.detach(1, true);
    CHECK(kernel.open() == 0);
    // The inode was another one's; now it is this one's.
    CHECK(files.attach(other));
    files.detach(1, false);
    CHECK(kernel.open() == 0);
    CHECK(kernel.wrong == 0);
}

TEST_CASE("a node that was passed through is not cached until it is forgotten", "[passthrough]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    REQUIRE(files.attach(opening(1, Passthrough, true)));
    CHECK(files.unseen_writes(1) == UnseenWrites::Open);
    files.detach(1, true);
    CHECK(files.unseen_writes(1) == UnseenWrites::Possible);
    CHECK(files.attach(opening(1, Cached))->mode == Passthrough);
    files.detach(1, false);
    SECTION("past the page cache where the kernel takes no backing") {
        kernel.refuse = true;
        CHECK(files.attach(opening(1, Passthrough))->mode == Direct);
        kernel.refuse = false;
        CHECK(files.attach(opening(1, Passthrough))->mode == Passthrough);
        files.detach(1, false);
        files.detach(1, false);
        files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
        CHECK(kernel.open() == 0);
    }
    SECTION("and after that it is") {
        files.forget(1);
        CHECK(files.unseen_writes(1) == UnseenWrites::None);
        CHECK(files.attach(opening(1, Cached))->mode == Cached);
        files.detach(1, false);
    }
}

TEST_CASE("pages are kept as long as the file is what it was", "[passthrough][cache]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    Opening reader = opening(1, Cached);
    reader.version = version(10);
    CHECK_FALSE(files.attach(reader)->keep_pages);
    CHECK(files.attach(reader)->keep_pages);
    SECTION("not when it has changed") {
        reader.version = version(11);
        CHECK_FALSE(files.attach(reader)->keep_pages);
        CHECK(files.attach(reader)->keep_pages);
    }
    SECTION("when it was open for writing, too") {
        Opening writer = opening(1, Cached, true);
        writer.version = version(10);
        CHECK(files.attach(writer)->keep_pages);
        CHECK(files.attach(reader)->keep_pages);
    }
    SECTION("not when changes can't be told") {
        reader.version.reset();
        CHECK_FALSE(files.attach(reader)->keep_pages);
        CHECK_FALSE(files.attach(reader)->keep_pages);
        reader.version = version(10);
        CHECK_FALSE(files.attach(reader)->keep_pages);
        CHECK(files.attach(reader)->keep_pages);
    }
    SECTION("not after it was passed through") {
        files.detach(1, false);
        files.detach(1, false);
        CHECK(files.attach(opening(1, Passthrough, true))->mode == Passthrough);
        CHECK_FALSE(files.attach(reader)->keep_pages);
    }
}

TEST_CASE("two nodes of one file cache nothing", "[passthrough]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    Opening shared = opening(1, Cached);
    shared.shared_file = true;
    CHECK(files.attach(shared)->mode == Direct);
    shared.wanted = Passthrough;
    kernel.refuse = true;
    CHECK(files.attach(shared)->mode == Direct);
    kernel.refuse = false;
    CHECK(files.attach(shared)->mode == Passthrough);
}

TEST_CASE("the backing of a file that is opened again and again stays a while", "[passthrough]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    bool idle = false;
    for (int i = 0; i < 100; ++i) {
        REQUIRE(files.attach(opening(1, Passthrough))->mode == Passthrough);
        idle = files.detach(1, false) || idle;
    }
    CHECK(idle);
    CHECK(kernel.registered == 3);
    CHECK(kernel.lasting_ones == 1);
    CHECK(files.counts().idle_backings == 1);
    CHECK(files.counts().backings == 1);
    SECTION("until it has been idle for long") {
        const auto before = OpenFiles::Clock::now() - std::chrono::hours(1);
        CHECK(files.close_idle(before, before));
        CHECK(kernel.open() == 1);
        CHECK_FALSE(files.close_idle(OpenFiles::kAll, OpenFiles::kAll));
    }
    SECTION("until the kernel forgets the file") {
        files.forget(1);
    }
    SECTION("until the node is another inode's") {
        Opening other = opening(1, Passthrough);
        other.real = real(2);
        REQUIRE(files.attach(other));
        CHECK(kernel.open() == 1);
        files.detach(1, false);
        files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
    }
    CHECK(kernel.open() == 0);
    CHECK(files.counts().idle_backings == 0);
    CHECK(kernel.wrong == 0);
}

TEST_CASE("few backings are idle at a time", "[passthrough]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    for (int round = 0; round < 5; ++round) {
        for (std::uint64_t node = 1; node <= 10'000; ++node) {
            REQUIRE(files.attach(opening(node, Passthrough)));
            files.detach(node, false);
        }
    }
    CHECK(kernel.open() == files.counts().idle_backings);
    CHECK(kernel.open() <= 256);
    CHECK_FALSE(files.close_idle(OpenFiles::kAll, OpenFiles::kAll));
    CHECK(kernel.open() == 0);
    CHECK(kernel.wrong == 0);
}

TEST_CASE("random opens never mix modes and leave nothing", "[passthrough][model]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    struct Open {
        std::uint64_t node;
        bool may_map;
        IoMode mode;
        BackingId id;
    };
    std::vector<Open> open;
    std::mt19937 random(20'261'121);
    for (int step = 0; step < 50'000; ++step) {
        if (open.size() > 60 || (!open.empty() && random() % 2 == 0)) {
            const std::size_t at = random() % open.size();
            files.detach(open[at].node, open[at].may_map);
            open[at] = open.back();
            open.pop_back();
        } else {
            Opening wanted =
                opening(random() % 8 + 1, static_cast<IoMode>(random() % 3), random() % 2 == 0);
            wanted.real = real(wanted.node * 10 + random() % 2);
            kernel.refuse = random() % 20 == 0;
            const auto attached = files.attach(wanted);
            if (attached) {
                open.push_back({wanted.node, wanted.may_map, attached->mode, attached->backing_id});
            }
        }
        if (random() % 50 == 0) files.forget(random() % 8 + 1);
        if (random() % 200 == 0) files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
        // What fs/fuse/iomode.c refuses with EIO.
        std::map<std::uint64_t, std::set<BackingId>> passing;
        std::set<std::uint64_t> cached;
        for (const Open& file : open) {
            if (file.mode == Passthrough) passing[file.node].insert(file.id);
            if (file.mode == Cached) cached.insert(file.node);
        }
        for (const auto& [node, ids] : passing) {
            REQUIRE(ids.size() == 1);
            REQUIRE_FALSE(cached.contains(node));
        }
    }
    for (const Open& file : open) files.detach(file.node, file.may_map);
    files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
    CHECK(kernel.open() == 0);
    CHECK(kernel.wrong == 0);
    CHECK(files.counts().backings == 0);
}

TEST_CASE("threads open, close and forget the same files", "[passthrough][race]") {
    Counting kernel;
    OpenFiles files(kernel, {});
    std::atomic<bool> done{false};
    std::thread keeper([&] {
        while (!done) files.close_idle(OpenFiles::Clock::now(), OpenFiles::kAll);
    });
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 4; ++seed) {
        threads.emplace_back([&, seed] {
            std::mt19937 random(seed);
            for (int i = 0; i < 5'000; ++i) {
                const std::uint64_t node = random() % 4 + 1;
                const bool may_map = random() % 2 == 0;
                if (files.attach(opening(node, Passthrough, may_map))) files.detach(node, may_map);
                if (i % 16 == 0) files.forget(node);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    done = true;
    keeper.join();
    files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
    CHECK(kernel.open() == 0);
    CHECK(kernel.wrong == 0);
}

TEST_CASE("opens that are not passed through are counted by reason", "[passthrough]") {
    CHECK(refusal_of(Errno(EPERM)) == Refusal::NoPrivilege);
    CHECK(refusal_of(Errno(ELOOP)) == Refusal::Stacked);
    CHECK(refusal_of(Errno(EOPNOTSUPP)) == Refusal::NoIterators);
    CHECK(refusal_of(Errno(EMFILE)) == Refusal::NoDescriptors);
    CHECK(refusal_of(Errno(ENFILE)) == Refusal::NoDescriptors);
    CHECK(refusal_of(Errno(EINVAL)) == Refusal::Other);
    Counting kernel;
    OpenFiles files(kernel, {});
    Opening small = opening(1, Cached);
    small.why = Refusal::Small;
    REQUIRE(files.attach(small));
    REQUIRE(files.attach(opening(1, Passthrough)));
    REQUIRE(files.attach(opening(2, Passthrough)));
    RefusalCounts expected{};
    expected[static_cast<std::size_t>(Refusal::Small)] = 1;
    expected[static_cast<std::size_t>(Refusal::Beside)] = 1;
    CHECK(files.counts().refused_by == expected);
}

}  // namespace plyfs::passthrough::test
