// SPDX-License-Identifier: GPL-2.0-or-later
//
// Many threads at a few names: no data race (under ThreadSanitizer), no deadlock, and in the end
// the union shows what its branches hold. The kernel keeps some of these verbs apart; the union
// must not rely on it.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <csignal>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "core/visible_tree.h"
#include "sys/credentials.h"
#include "sys/data.h"

namespace plyfs::test {
namespace {

// Ends the program where a verb waits for ever.
class Watchdog {
public:
    explicit Watchdog(unsigned seconds) {
        (void)std::signal(SIGALRM, [](int) {
            constexpr char kText[] = "race_test: a verb has not come back\n";
            (void)!::write(STDERR_FILENO, kText, sizeof kText - 1);
            std::abort();
        });
        ::alarm(seconds);
    }
    ~Watchdog() { ::alarm(0); }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
};

// What one thread of the kernel would do; keeps its own count of lookups.
class Client {
public:
    Client(Union& verbs, std::uint64_t seed) : verbs_(verbs), random_(seed) {}
    ~Client() { forget(); }

    void run(int steps) {
        (void)sys::prepare_serving_thread();
        for (int step = 0; step < steps; ++step) {
            one_step();
            if (step % 32 == 31) forget();
        }
    }

private:
    std::uint64_t draw(std::uint64_t below) { return random_() % below; }
    Name name() {
        static constexpr const char* kNames[] = {"a", "b", "c"};
        return *Name::from(kNames[draw(3)]);
    }
    Request request() { return {{}, journal_}; }
    void keep(const Result<Entry>& entry) {
        if (entry) ++counted_[entry->node];
    }
    void forget() {
        for (const auto& [node, count] : counted_) verbs_.forget(node, count);
        counted_.clear();
    }

    // Any directory a few levels down, kept for the verb.
    NodeId somewhere() {
        NodeId at = kRootNode;
        for (std::uint64_t depth = draw(6); depth > 0; --depth) {
            const auto entry = verbs_.lookup(at, name());
            keep(entry);
            if (!entry || !entry->attributes.is_directory()) break;
            at = entry->node;
        }
        return at;
    }

    void read_directory(NodeId directory) {
        const auto handle = verbs_.opendir(directory);
        if (!handle) return;
        (void)verbs_.readdir(*handle, 0, [](const DirectoryEntry&) { return true; });
        verbs_.releasedir(*handle);
    }

    void use_file(NodeId node, bool unlinked, NodeId parent, Name called) {
        const auto opened = verbs_.open(request(), node, O_RDWR, false);
        if (!opened) return;
        if (unlinked) (void)verbs_.unlink(request(), parent, called);
        const char byte = 'x';
        (void)sys::write_at(opened->file->descriptor.get(), std::as_bytes(std::span(&byte, 1)), 0);
        (void)verbs_.getattr(node, opened->handle);
        (void)verbs_.getattr(node);
        verbs_.release(opened->handle);
    }

    void one_step() {
        const NodeId directory = somewhere();
        const NodeId other = somewhere();
        const Name one = name();
        const Name another = name();
        switch (draw(12)) {
            case 0:
            case 1: keep(verbs_.mkdir(request(), directory, one, 0755)); break;
            case 2: {
                const auto made = verbs_.create(request(), directory, one, 0644, O_RDWR);
                if (!made) break;
                ++counted_[made->entry.node];
                verbs_.release(made->opened.handle);
                break;
            }
            case 3: (void)verbs_.unlink(request(), directory, one); break;
            case 4: (void)verbs_.rmdir(request(), directory, one); break;
            case 5:
            case 6: {
                const unsigned flags = draw(4) == 0 ? RENAME_EXCHANGE : 0;
                (void)verbs_.rename(request(), directory, one, other, another, flags);
                break;
            }
            case 7: {
                const auto entry = verbs_.lookup(directory, one);
                keep(entry);
                if (entry) keep(verbs_.link(request(), entry->node, other, another));
                break;
            }
            case 8: read_directory(directory); break;
            case 9: {
                const auto entry = verbs_.lookup(directory, one);
                keep(entry);
                if (entry && entry->attributes.is_regular()) {
                    use_file(entry->node, draw(4) == 0, directory, one);
                }
                break;
            }
            case 10: {
                const auto entry = verbs_.lookup(directory, one);
                keep(entry);
                AttributeChange change;
                change.mode = draw(2) == 0 ? 0755 : 0700;
                if (entry) (void)verbs_.setattr(request(), entry->node, change);
                break;
            }
            default: (void)verbs_.getattr(directory); break;
        }
    }

    Union& verbs_;
    std::mt19937_64 random_;
    NullJournal journal_;
    std::map<NodeId, std::uint64_t> counted_;
};

int race_steps() {
    const char* const chosen = std::getenv("PLYFS_TEST_STEPS");
    return chosen != nullptr ? std::atoi(chosen) : 1500;
}

std::uint64_t first_seed() {
    const char* const chosen = std::getenv("PLYFS_TEST_SEED");
    return chosen != nullptr ? std::strtoull(chosen, nullptr, 0) : 0;
}

}  // namespace

TEST_CASE("threads at the same names leave a union that agrees with its branches", "[race]") {
    const Watchdog watchdog(300);
    const auto create = GENERATE(config::Policy::Ff, config::Policy::Rand);
    const std::size_t open_directories = GENERATE(1U, 64U);
    const std::size_t descriptors = open_descriptors();
    {
        config::PolicyOptions chosen = policies(create);
        DrivenUnion u({kRw, kRw, kRw}, chosen, open_directories);
        {
            std::vector<std::thread> threads;
            for (std::uint64_t thread = 1; thread <= 4; ++thread) {
                threads.emplace_back(
                    [&u, thread] { Client(u.verbs(), first_seed() + thread).run(race_steps()); });
            }
            for (std::thread& thread : threads) thread.join();
        }
        CHECK(u.counts().nodes == 1);
        CHECK(u.warnings.empty());
        const VisibleTree live = visible_tree(u);
        for (const auto& [path, text] : live) {
            INFO(path);
            CHECK(text.find("lookup:") == text.npos);
            CHECK(text.find("differs") == text.npos);
        }
        u.remount();
        CHECK(difference(visible_tree(u), live) == "");
        // No directory is left behind on a branch without its way up being seen.
        for (std::size_t branch = 0; branch < 3; ++branch) {
            for (const auto& [path, text] : visible_tree(u.host(branch))) {
                if (!path.starts_with(".plyfs")) CHECK(live.contains(path));
            }
        }
    }
    CHECK(open_descriptors() == descriptors);
}

}  // namespace plyfs::test
