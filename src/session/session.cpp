// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/session.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "session/mounted_branches.h"
#include "session/server.h"
#include "union/union.h"

namespace plyfs::session {
namespace {

// How many descriptors the process may have: as many as it can get, since they are what a union
// needs most.
std::size_t raise_descriptor_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_max;
}

// What is left for open files of `descriptors`. A reader that keeps what it opened takes two.
std::size_t open_file_limit(const config::Options& options, std::size_t descriptors,
                            std::size_t open_directories) {
    // Requests in progress, devices, branches, work directories, rings.
    const std::size_t rings =
        options.io_uring ? ring_thread_count(options) * std::thread::hardware_concurrency() : 0;
    const std::size_t reserve =
        std::clamp<std::size_t>(descriptors / 4, 32, 512) + 4 * options.branches.size() + rings;
    const std::size_t kept = reserve + open_directories;
    const std::size_t left = descriptors > kept ? descriptors - kept : descriptors / 4;
    const bool snapshots = std::ranges::any_of(options.branches, [&](const auto& branch) {
        return branch.readers.value_or(options.readers) == config::Readers::Snapshot;
    });
    return std::max<std::size_t>(snapshots ? left / 2 : left, 16);
}

UnionOptions union_options(const config::Options& options) {
    UnionOptions result;
    result.policies = options.policies;
    result.xattrs = options.xattrs;
    const std::size_t descriptors = raise_descriptor_limit();
    result.open_directories = std::clamp<std::size_t>(descriptors / 8, 64, 4096);
    if (options.limits.open_directories != 0) {
        result.open_directories = options.limits.open_directories;
    }
    result.open_files = open_file_limit(options, descriptors, result.open_directories);
    result.durable_copies = options.copy_up.fsync && !options.is_volatile;
    result.redirect = options.copy_up.redirect;
    result.metacopy = options.copy_up.metacopy;
    result.index = options.copy_up.index;
    result.copy_up_policy = options.copy_up.policy;
    result.warn = [](std::string_view text) { spdlog::warn("{}", text); };
    return result;
}

// The union that a mount shows, and what it tells of.
class Mounted {
public:
    Mounted(const config::Options& options, BranchSet branches)
        : options_(options), passing_(options), united_(std::move(branches), wanted()) {}

    Union& united() noexcept { return united_; }
    Passing& passing() noexcept { return passing_; }
    // When it is not served any more.
    void leave(const Ended& ended) {
        united_.release_work();
        if (options_.read_only) return;
        if (ended.successor != 0) return leave_branches(united_.branches());
        unmark_branches(options_, united_.branches());
        release_branches(united_.branches());
    }

private:
    UnionOptions wanted() {
        UnionOptions result = union_options(options_);
        result.outdated = [this](NodeId parent, const std::string& name) {
            passing_.housekeeper.expire_entry(parent, name);
        };
        result.destroyed = [this](NodeId node) { passing_.open_files.forget(node); };
        return result;
    }

    const config::Options& options_;
    Passing passing_;
    Union united_;
};

}  // namespace

std::expected<Ended, SessionError> mount_and_serve(const config::Options& options,
                                                   const std::string& text,
                                                   const std::function<void()>& ready) {
    raise_descriptor_limit();
    auto branches = open_branches(options);
    if (!branches) return std::unexpected(branches.error());
    if (!options.read_only) {
        if (const auto prepared = prepare_branches(options, *branches); !prepared) {
            return std::unexpected(prepared.error());
        }
    }
    Mounted mounted(options, *std::move(branches));
    if (!options.read_only) {
        const IndexSweep swept = mounted.united().sweep_indexes();
        if (swept.removed > 0) spdlog::info("{} removed files swept", swept.removed);
    }
    std::expected<Ended, SessionError> ended;
    {
        Server server(options, text, mounted.united(), mounted.passing());
        const auto begun = server.mount();
        if (begun) {
            ended = server.run(ready);
        } else {
            ended = std::unexpected(begun.error());
        }
    }
    mounted.leave(ended.value_or(Ended{}));
    return ended;
}

std::expected<Ended, SessionError> take_over_and_serve(const config::Options& options,
                                                       const std::string& text,
                                                       Predecessor& predecessor,
                                                       const std::function<void()>& ready) {
    const auto give_up = [&](std::string reason) {
        predecessor.refuse(reason);
        return refuse(std::move(reason));
    };
    raise_descriptor_limit();
    auto branches = open_branches(options);
    if (!branches) return give_up(branches.error().text);
    if (auto shared = predecessor.share(*branches); !shared) return give_up(shared.error());
    for (const auto& branch : *branches) branch->learn_times();
    Mounted mounted(options, *std::move(branches));
    Ended ended;
    {
        auto state = predecessor.take();
        if (!state) return give_up(std::string(state.error().message()));
        Server server(options, text, mounted.united(), mounted.passing());
        if (const auto taken = server.take_over(*std::move(state)); !taken) {
            return give_up(taken.error().text);
        }
        if (!predecessor.confirm()) return refuse("the daemon goes on by itself");
        ended = server.run(ready);
    }
    mounted.leave(ended);
    return ended;
}

}  // namespace plyfs::session
