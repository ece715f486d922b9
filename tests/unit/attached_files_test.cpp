// SPDX-License-Identifier: GPL-2.0-or-later
//
// Backings that are left with the kernel, which opens files by them without asking: against a model
// of what patch 5 of kernel/ does (docs/kernel-open.md).
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "passthrough/open_files.h"

namespace plyfs::passthrough::test {
namespace {

using enum IoMode;

// The kernel: its ids, and one inode at a time for each node. Descriptors are numbers of files.
class Kernel final : public Registrar {
public:
    Result<BackingId> open_backing(int descriptor, BackingUse use) override {
        if (refuse) return fail(EMFILE);
        ids_.emplace(++last_, std::make_shared<Backing>(Backing{
                                  descriptor, use == BackingUse::Attached, 0, false, false}));
        return last_;
    }
    std::uint32_t close_backing(BackingId id) override {
        const auto found = ids_.find(id);
        if (found == ids_.end()) return 0;
        Backing& backing = *found->second;
        backing.attached = false;
        const std::uint32_t opens = backing.node == 0 ? 0 : inodes_[backing.node].by_kernel;
        if (opens == 0) ids_.erase(found);
        return opens;
    }
    Result<void> rebind_backing(BackingId id, int descriptor) override {
        const auto found = ids_.find(id);
        if (found == ids_.end()) return fail(ENOENT);
        if (found->second->written) return fail(EBUSY);
        found->second->file = descriptor;
        return {};
    }

    // What it does with an open(2): by itself (true), or it asks.
    bool open_by_itself(std::uint64_t node, bool writes) {
        const std::shared_ptr<Backing> backing = attached_to(node);
        if (writes || !backing) return false;
        inodes_[node].backing = backing;
        ++inodes_[node].by_kernel;
        return true;
    }
    // Takes an answer. False: it is one that would make the open fail.
    bool take(std::uint64_t node, bool writes, const Attachment& answer) {
        Inode& inode = inodes_[node];
        if (answer.mode != Passthrough) {
            if (inode.by_kernel + inode.passing > 0) return false;
            ++(answer.mode == Cached ? inode.cached : inode.direct);
            return true;
        }
        const bool passes = inode.by_kernel + inode.passing > 0;
        if (answer.backing_id == 0) {
            // FUSE_PASSTHROUGH_REUSE. ESTALE where there is nothing: the caller asks once more.
            if (!reuses || !passes) return false;
            ++inode.passing;
            if (writes) inode.backing->written = true;
            return true;
        }
        const auto found = ids_.find(answer.backing_id);
        if (found == ids_.end() || inode.cached > 0) return false;
        const std::shared_ptr<Backing> backing = found->second;
        // FUSE_PASSTHROUGH_SAME_INODE
        const bool same =
            inode.backing == backing || (reuses && passes && inode.backing->file == backing->file);
        if (passes && !same) return false;
        if (!passes) inode.backing = backing;
        ++inode.passing;
        if (writes) backing->written = true;
        if (backing->may_attach && backing->node == 0) {
            backing->node = node;
            backing->attached = true;
        }
        return true;
    }
    void close(std::uint64_t node, bool by_kernel, IoMode mode) {
        Inode& inode = inodes_[node];
        --(by_kernel             ? inode.by_kernel
           : mode == Passthrough ? inode.passing
           : mode == Cached      ? inode.cached
                                 : inode.direct);
    }
    // Its inode goes, with what was attached. False: it is open.
    bool evict(std::uint64_t node) {
        const Inode& inode = inodes_[node];
        if (inode.by_kernel + inode.passing + inode.cached + inode.direct > 0) return false;
        std::erase_if(ids_, [&](const auto& entry) { return entry.second->node == node; });
        inodes_.erase(node);
        return true;
    }
    // What a reader that is open in passthrough reads.
    int file_of(std::uint64_t node) { return inodes_[node].backing->file; }
    std::uint32_t opened_by_itself(std::uint64_t node) { return inodes_[node].by_kernel; }
    std::size_t ids() const { return ids_.size(); }

    bool refuse = false;
    bool reuses = false;

private:
    struct Backing {
        int file;
        bool may_attach;
        std::uint64_t node;  // whose inode it is attached to, or was; 0: none
        bool attached;
        bool written;
    };
    struct Inode {
        std::shared_ptr<Backing> backing;
        std::uint32_t by_kernel = 0;
        std::uint32_t passing = 0;
        std::uint32_t cached = 0;
        std::uint32_t direct = 0;
    };
    std::shared_ptr<Backing> attached_to(std::uint64_t node) const {
        for (const auto& [id, backing] : ids_) {
            if (backing->attached && backing->node == node) return backing;
        }
        return nullptr;
    }
    BackingId last_ = 0;
    std::map<BackingId, std::shared_ptr<Backing>> ids_;
    std::map<std::uint64_t, Inode> inodes_;
};

// `file` is the inode on the branch.
Opening opening(std::uint64_t node, int file, bool writes = false) {
    Opening result;
    result.node = node;
    result.real = {.device = 1, .inode = static_cast<std::uint64_t>(file), .birth = {}};
    result.descriptor = file;
    result.writes = result.may_map = writes;
    result.wanted = Passthrough;
    result.may_attach = !writes;
    return result;
}

struct Open {
    std::uint64_t node;
    bool writes;
    bool by_kernel;
    IoMode mode;
};

// Closes one of them; `released` are those of which the server is to be told.
void close_one(Kernel& kernel, std::vector<Open>& open, std::size_t at,
               std::vector<Open>& released) {
    kernel.close(open[at].node, open[at].by_kernel, open[at].mode);
    if (!open[at].by_kernel) released.push_back(open[at]);
    open[at] = open.back();
    open.pop_back();
}

// Who reads in passthrough reads the file as it is now.
bool read_right(Kernel& kernel, const std::vector<Open>& open, std::map<std::uint64_t, int>& real) {
    return std::ranges::all_of(open, [&](const Open& file) {
        return file.mode != Passthrough || kernel.file_of(file.node) == real[file.node];
    });
}

// An open(2) that the kernel asks for. None: ETXTBSY. `reused` counts answers without an id.
std::optional<Attachment> open_by_asking(Kernel& kernel, OpenFiles& files, const Opening& asked,
                                         std::uint64_t& reused) {
    auto attached = files.attach(asked);
    if (attached && attached->mode == Passthrough && attached->backing_id == 0) {
        ++reused;
        if (kernel.take(asked.node, asked.writes, *attached)) return *attached;
        // The RELEASE of what failed comes before the caller asks once more.
        files.detach(asked.node, asked.writes);
        attached = files.attach(asked);
    }
    if (!attached) {
        REQUIRE(attached.error() == ETXTBSY);
        return std::nullopt;
    }
    REQUIRE(kernel.take(asked.node, asked.writes, *attached));
    return *attached;
}

std::unique_ptr<OpenFiles> successor_of(OpenFiles& files, Kernel& kernel) {
    files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
    auto successor = std::make_unique<OpenFiles>(kernel, nullptr);
    files.save([&](const SavedOpened& saved) { successor->restore(saved); });
    files.leave();
    if (kernel.reuses) successor->close_inherited();
    return successor;
}

}  // namespace

TEST_CASE("a file that was read is opened without asking", "[passthrough][attach]") {
    Kernel kernel;
    OpenFiles files(kernel, {});
    const auto first = files.attach(opening(1, 10));
    REQUIRE(first);
    REQUIRE(kernel.take(1, false, *first));
    CHECK(files.counts().attached == 1);
    REQUIRE(kernel.open_by_itself(1, false));
    // What is not covered shares the id.
    const auto writer = files.attach(opening(1, 10, true));
    REQUIRE(writer);
    CHECK(writer->backing_id == first->backing_id);
    CHECK(kernel.take(1, true, *writer));
    kernel.close(1, false, Passthrough);
    files.detach(1, true);
    kernel.close(1, false, Passthrough);
    CHECK(files.detach(1, false));
    CHECK_FALSE(files.passes(1));
    CHECK(files.may_pass(1));

    SECTION("as long as its inode is there") {
        kernel.close(1, true, Passthrough);
        REQUIRE(kernel.evict(1));
        const auto second = files.attach(opening(1, 10));
        REQUIRE(second);
        CHECK(second->backing_id != first->backing_id);
        CHECK(kernel.take(1, false, *second));
        kernel.close(1, false, Passthrough);
        files.detach(1, false);
    }
    SECTION("until some time is over") {
        const auto now = OpenFiles::Clock::now();
        CHECK(files.close_idle(now, now - std::chrono::hours(1)));
        REQUIRE(kernel.open_by_itself(1, false));
        kernel.close(1, true, Passthrough);
        // One is open still: it is asked for again.
        CHECK(files.close_idle(OpenFiles::kAll, OpenFiles::kAll));
        CHECK_FALSE(kernel.open_by_itself(1, false));
        CHECK(files.counts().taken_open == 1);
        CHECK(files.may_pass(1));
        kernel.close(1, true, Passthrough);
        CHECK_FALSE(files.close_idle(OpenFiles::kAll, OpenFiles::kAll));
        CHECK_FALSE(files.may_pass(1));
        CHECK(files.counts().taken_back == 1);
    }
    SECTION("until it is forgotten") {
        kernel.close(1, true, Passthrough);
        files.forget(1);
    }
    files.close_idle(OpenFiles::kAll, OpenFiles::kAll);
    CHECK(kernel.ids() == 0);
    CHECK(files.counts().backings == 0);
    CHECK(files.counts().attached == 0);
}

TEST_CASE("nothing is remembered of attached files that were forgotten", "[passthrough][attach]") {
    Kernel kernel;
    OpenFiles files(kernel, {});
    const auto visit = [&](std::uint64_t node) {
        REQUIRE(kernel.take(node, false, *files.attach(opening(node, 10))));
        kernel.close(node, false, Passthrough);
        files.detach(node, false);
    };
    constexpr std::uint64_t kKept = 1000;
    for (std::uint64_t node = 1; node <= kKept; ++node) visit(node);
    for (std::uint64_t node = kKept + 1; node <= 100 * kKept; ++node) {
        visit(node);
        REQUIRE(kernel.evict(node));
        files.forget(node);
    }
    CHECK(files.counts().attached == kKept);
    CHECK(files.counts().queued < 10 * kKept);
    // What is left is taken back in its turn.
    CHECK_FALSE(files.close_idle(OpenFiles::kAll, OpenFiles::kAll));
    CHECK(files.counts().queued == 0);
    CHECK(files.counts().taken_back == kKept);
    CHECK(kernel.ids() == 0);
}

TEST_CASE("another file under the node of an attached one", "[passthrough][attach]") {
    Kernel kernel;
    OpenFiles files(kernel, {});
    Opening reader = opening(1, 10);
    Opening other = opening(1, 11, true);
    other.copied = true;

    SECTION("is not opened while somebody reads the first") {
        REQUIRE(kernel.take(1, false, *files.attach(reader)));
        REQUIRE(kernel.open_by_itself(1, false));
        kernel.close(1, false, Passthrough);
        files.detach(1, false);
        CHECK(files.attach(other).error() == ESTALE);
        kernel.close(1, true, Passthrough);
        const auto after = files.attach(other);
        REQUIRE(after);
        CHECK(kernel.take(1, true, *after));
    }
    SECTION("takes over readers that follow") {
        reader.follows = true;
        REQUIRE(kernel.take(1, false, *files.attach(reader)));
        REQUIRE(kernel.open_by_itself(1, false));
        kernel.close(1, false, Passthrough);
        files.detach(1, false);
        SECTION("when it is opened") {
            const auto after = files.attach(other);
            REQUIRE(after);
            CHECK(kernel.take(1, true, *after));
        }
        SECTION("when it is truncated by path") {
            CHECK(files.follow(other));
            CHECK(kernel.take(1, true, *files.attach(other)));
        }
        CHECK(kernel.file_of(1) == 11);
        CHECK(files.counts().rebound == 1);
    }
    SECTION("is opened where the inode has gone") {
        reader.follows = true;
        REQUIRE(kernel.take(1, false, *files.attach(reader)));
        kernel.close(1, false, Passthrough);
        files.detach(1, false);
        REQUIRE(kernel.evict(1));
        SECTION("at once") {}
        SECTION("after a truncation by path") {
            CHECK(files.follow(other));
        }
        const auto after = files.attach(other);
        REQUIRE(after);
        CHECK(kernel.take(1, true, *after));
        CHECK(files.counts().rebound == 0);
    }
}

TEST_CASE("what became append-only is not open by the kernel", "[passthrough][attach]") {
    Kernel kernel;
    OpenFiles files(kernel, {});
    Opening writer = opening(1, 10, true);
    writer.wanted = Direct;
    writer.passable = false;
    REQUIRE(kernel.take(1, false, *files.attach(opening(1, 10))));
    CHECK(files.attach(writer).error() == ETXTBSY);
    // Its id is there for others as long as it is open.
    const auto other = files.attach(opening(1, 10));
    REQUIRE(other);
    CHECK(kernel.take(1, false, *other));
    for (int i = 0; i < 2; ++i) {
        kernel.close(1, false, Passthrough);
        files.detach(1, false);
    }
    REQUIRE(kernel.open_by_itself(1, false));
    CHECK(files.attach(writer).error() == ETXTBSY);
    kernel.close(1, true, Passthrough);
    const auto after = files.attach(writer);
    REQUIRE(after);
    CHECK(after->mode == Direct);
    CHECK(kernel.take(1, true, *after));
}

TEST_CASE("a handle changes nothing of how a file is open", "[passthrough][attach]") {
    Kernel kernel;
    OpenFiles files(kernel, {});
    REQUIRE(kernel.take(1, false, *files.attach(opening(1, 10))));
    kernel.close(1, false, Passthrough);
    files.detach(1, false);
    REQUIRE(kernel.open_by_itself(1, false));
    Opening handle = opening(1, 10);
    handle.handle_only = true;
    const auto attached = files.attach(handle);
    REQUIRE(attached);
    CHECK(attached->backing_id == 0);
    CHECK(kernel.open_by_itself(1, false));
    CHECK(files.passes(1));
    files.detach(1, false);
    CHECK(files.counts().attached == 1);
}

TEST_CASE("files that are open since before a restart are opened again", "[passthrough][restart]") {
    Kernel kernel;
    kernel.reuses = GENERATE(false, true);
    OpenFiles before(kernel, {});
    REQUIRE(kernel.take(1, true, *before.attach(opening(1, 10, true))));
    REQUIRE(kernel.take(2, true, *before.attach(opening(2, 20, true))));
    OpenFiles after(kernel, {});
    before.save([&](const SavedOpened& saved) { after.restore(saved); });
    before.leave();
    CHECK(kernel.ids() == 2);
    if (kernel.reuses) after.close_inherited();
    CHECK(kernel.ids() == (kernel.reuses ? 0 : 2));
    CHECK(after.counts().backings == (kernel.reuses ? 0 : 2));

    const auto second = after.attach(opening(1, 10, true));
    REQUIRE(second);
    CHECK((second->backing_id == 0) == kernel.reuses);
    CHECK(kernel.take(1, true, *second));
    CHECK(after.counts().registrations == 0);
    CHECK(after.attach(opening(1, 11, true)).error() == ESTALE);

    // The file may have been closed for the last time: the server is told of that later.
    kernel.close(1, false, Passthrough);
    after.detach(1, true);
    SECTION("by an id of their own once one was closed") {
        const auto third = after.attach(opening(1, 10, true));
        REQUIRE(third);
        CHECK(third->backing_id != 0);
        CHECK(kernel.take(1, true, *third));
        CHECK(after.counts().registrations == (kernel.reuses ? 1 : 0));
        kernel.close(1, false, Passthrough);
        after.detach(1, true);
    }
    SECTION("or not at all where that is refused") {
        kernel.refuse = kernel.reuses;
        const auto third = after.attach(opening(1, 10, true));
        if (kernel.reuses) {
            CHECK(third.error() == ETXTBSY);
        } else {
            CHECK(kernel.take(1, true, *third));
            kernel.close(1, false, Passthrough);
            after.detach(1, true);
        }
    }
    kernel.close(1, false, Passthrough);
    after.detach(1, true);
    after.detach(2, true);
    after.close_idle(OpenFiles::kAll, OpenFiles::kAll);
    CHECK(kernel.ids() == 0);
    CHECK(after.counts().backings == 0);
}

TEST_CASE("no answer about attached files is refused by the kernel",
          "[passthrough][attach][model]") {
    Kernel kernel;
    // With and without what makes restarts need fewer ids.
    kernel.reuses = GENERATE(false, true);
    auto files = std::make_unique<OpenFiles>(kernel, nullptr);
    std::uint64_t reused = 0;
    std::vector<Open> open;
    // What the server knows to be open though it was closed: a RELEASE comes later than a close.
    std::vector<Open> released;
    std::map<std::uint64_t, int> real;  // by node
    std::uint64_t by_itself = 0;
    std::mt19937 random(20'261'121);
    const auto release = [&] {
        for (const Open& file : released) files->detach(file.node, file.writes);
        released.clear();
    };
    for (int step = 0; step < 100'000; ++step) {
        const std::uint64_t node = random() % 8 + 1;
        real.try_emplace(node, 100 + step);
        // Odd ones are lower files, to be copied up by the first writer and followed.
        const bool lower = node % 2 == 1 && real[node] < 1'000'000;
        switch (random() % 8) {
            case 0:
            case 1:
            case 2: {
                const bool writes = random() % 4 == 0;
                if (kernel.open_by_itself(node, writes)) {
                    ++by_itself;
                    open.push_back({node, writes, true, Passthrough});
                    break;
                }
                if (lower && writes) real[node] += 1'000'000;
                Opening asked = opening(node, real[node], writes);
                asked.follows = lower && !writes;
                asked.copied = !asked.follows;
                kernel.refuse = random() % 20 == 0;
                const auto attached = open_by_asking(kernel, *files, asked, reused);
                // Only what nobody moves is refused to the caller: here, nothing but files that
                // need another id since a restart, which was refused.
                const bool refused = std::exchange(kernel.refuse, false);
                if (!attached) {
                    REQUIRE((refused && kernel.reuses));
                    break;
                }
                open.push_back({node, writes, false, attached->mode});
                break;
            }
            case 3:
            case 4:
            case 5:
                if (!open.empty()) {
                    close_one(kernel, open, random() % open.size(), released);
                }
                break;
            case 6:
                if (kernel.evict(node) && random() % 2 == 0) {
                    release();
                    files->forget(node);
                    real.erase(node);
                }
                break;
            default:
                if (random() % 4 == 0) files->close_idle(OpenFiles::kAll, OpenFiles::kAll);
                if (random() % 4 == 0) release();
                if (random() % 50 == 0) files = successor_of(*files, kernel);
        }
        REQUIRE(read_right(kernel, open, real));
    }
    CHECK(by_itself > 1'000);
    CHECK((reused > 100) == kernel.reuses);
    while (!open.empty()) close_one(kernel, open, 0, released);
    release();
    files->close_idle(OpenFiles::kAll, OpenFiles::kAll);
    CHECK(kernel.ids() == 0);
    CHECK(files->counts().backings == 0);
    CHECK(files->counts().attached == 0);
}

}  // namespace plyfs::passthrough::test
