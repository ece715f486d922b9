// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/recovery.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sys/dirents.h"
#include "union/intent.h"
#include "union/intent_file.h"
#include "union/plan_run.h"
#include "union/relocation.h"

namespace plyfs {
namespace {

// A record to be settled.
struct Pending {
    Intent intent;
    std::size_t home;                   // index of the branch it lies on
    std::vector<std::size_t> branches;  // index of the branch for each of intent.ids
};

// Descriptors that a plan's places and graves borrow.
struct Opened {
    std::vector<UniqueFd> directories;
    std::vector<Grave> graves;
};

class Recovery {
public:
    explicit Recovery(std::span<const PlanBranch> branches)
        : branches_(branches), left_(branches.size()), intents_(branches.size()) {}

    RecoveryReport run() {
        for (std::size_t branch = 0; branch < branches_.size(); ++branch) claim(branch);
        for (std::size_t branch = 0; branch < branches_.size(); ++branch) collect(branch);
        // In the order in which the verbs began, across branches and mounts.
        std::ranges::sort(found_, {}, [](const Pending& one) { return one.intent.sequence; });
        std::erase_if(found_, [&](Pending& pending) { return !locate(pending); });
        for (const Pending& pending : found_) {
            relocation_.learn(pending.intent.plan, pending.branches);
        }
        for (Pending& pending : found_) settle(pending);
        for (std::size_t branch = 0; branch < branches_.size(); ++branch) sweep(branch);
        return std::move(report_);
    }

private:
    template <typename... Values>
    void warn(fmt::format_string<Values...> format, Values&&... values) {
        report_.warnings.push_back(fmt::format(format, std::forward<Values>(values)...));
    }

    std::string label(std::size_t branch) const {
        const std::string_view path = branches_[branch].path;
        return path.empty() ? fmt::format("branch {}", branch) : std::string(path);
    }

    void claim(std::size_t branch) {
        if (branches_[branch].work == nullptr) return;
        auto left = branches_[branch].work->claim_leftovers();
        if (!left) {
            warn("{}: its work directory can't be examined: {}", label(branch),
                 left.error().message());
            return;
        }
        left_[branch] = *std::move(left);
        const auto& id = left_[branch].id;
        if (!id || by_id_.try_emplace(*id, branch).second) return;
        warn("{} and {} have one id, as copies do; what was left on them stays", label(by_id_[*id]),
             label(branch));
        copies_.insert(*id);
    }

    bool is_here(const BranchId& id) const {
        return by_id_.contains(id) && !copies_.contains(id) && !unread_.contains(id);
    }

    bool is_claimed(std::size_t branch, const MountId& mount) const {
        return std::ranges::find(left_[branch].dead, mount, &DeadMount::mount) !=
               left_[branch].dead.end();
    }

    void collect(std::size_t branch) {
        if (left_[branch].dead.empty() || !left_[branch].id) return;
        const auto done = collect_intents(branch);
        if (done || done.error() == ENOENT) return;
        warn("{}: its intents can't be read: {}", label(branch), done.error().message());
        unread_.insert(*left_[branch].id);
    }

    Result<void> collect_intents(std::size_t branch) {
        intents_[branch] = TRY(branches_[branch].work->existing_intents());
        auto reader = TRY(sys::DirectoryReader::open(intents_[branch].get()));
        std::vector<std::string> names;
        while (TRY(reader.fill())) {
            reader.for_each([&](const sys::RawEntry& entry) { names.emplace_back(entry.name); });
        }
        for (const std::string& name : names) {
            const auto parsed = parse_intent_name(name);
            if (!parsed || !is_claimed(branch, parsed->mount)) continue;
            collect_intent(branch, name, *parsed);
        }
        return {};
    }

    void collect_intent(std::size_t branch, const std::string& name, const IntentName& parsed) {
        const GraveOwner owner{*left_[branch].id, parsed.sequence};
        if (parsed.damaged) {
            kept_.insert(owner);
            return;
        }
        auto intent = read_intent(intents_[branch].get(), name);
        if (!intent) {
            leave(branch, name, owner, parsed.mount, intent.error().message());
        } else if (*intent) {
            found_.push_back({**std::move(intent), branch, {}});
        } else {
            kept_.insert(owner);
            ++report_.damaged;
            const auto aside = set_intent_aside(intents_[branch].get(), name);
            warn("{}: intent {} is damaged and {}; its plan stays as it is", label(branch), name,
                 aside ? std::string("set aside") : aside.error().message());
        }
    }

    void leave(std::size_t branch, const std::string& name, const GraveOwner& owner,
               const MountId& mount, std::string_view reason) {
        kept_.insert(owner);
        unsettled_.emplace(owner.home, mount);
        ++report_.left;
        warn("{}: intent {} is left alone: {}", label(branch), name, reason);
    }

    void leave(const Pending& pending, std::string_view reason) {
        leave(pending.home, file_name(pending.intent), owner_of(pending), pending.intent.mount,
              reason);
    }

    GraveOwner owner_of(const Pending& pending) const {
        return {*left_[pending.home].id, pending.intent.sequence};
    }

    // Finds the branches it names in this mount.
    bool locate(Pending& pending) {
        for (const BranchId& id : pending.intent.ids) {
            if (!is_here(id)) {
                leave(pending, fmt::format("its branch {} is not (usable) in this mount", id));
                return false;
            }
            pending.branches.push_back(by_id_.at(id));
        }
        if (pending.intent.home == *left_[pending.home].id && is_here(pending.intent.home)) {
            return true;
        }
        leave(pending, "it comes from another branch");
        return false;
    }

    // Of a mount that has left nothing on the branch: an empty UniqueFd.
    Result<UniqueFd> open_work(std::size_t branch, const MountId& mount) const {
        auto work = branches_[branch].work->work_of(mount);
        if (!work && work.error() == ENOENT) return UniqueFd();
        return work;
    }

    Result<void> open_place(Opened& opened, std::size_t branch, const MountId& mount,
                            Place& place) {
        opened.directories.push_back(
            place.parent == kWorkPlace
                ? TRY(open_work(branch, mount))
                : TRY(relocation_.find(branch, branches_[branch].root, place)));
        place.directory = opened.directories.back().get();
        return {};
    }

    Result<Opened> open_places(Pending& pending) {
        Opened opened;
        const MountId& mount = pending.intent.mount;
        for (std::size_t index = 0; index < pending.intent.plan.size(); ++index) {
            Step& step = pending.intent.plan[index];
            const std::size_t branch =
                pending.branches[std::visit([](const auto& one) { return one.branch; }, step)];
            if (auto* move = std::get_if<Move>(&step)) {
                TRY(open_place(opened, branch, mount, move->from));
                TRY(open_place(opened, branch, mount, move->to));
            } else if (auto* replace = std::get_if<Replace>(&step)) {
                TRY(open_place(opened, branch, mount, replace->from));
                TRY(open_place(opened, branch, mount, replace->to));
            } else {
                TRY(open_place(opened, branch, mount, std::get<Bury>(step).place));
            }
            opened.directories.push_back(TRY(open_work(branch, mount)));
            opened.graves.push_back(
                {opened.directories.back().get(), grave_name(pending.intent, index)});
        }
        return opened;
    }

    void settle(Pending& pending) {
        const auto opened = open_places(pending);
        if (!opened) return leave(pending, opened.error().message());
        PlanRun run(pending.intent.plan, opened->graves, PlanRun::When::Recovery);
        auto done = run.forward();
        if (done) done = run.synchronize();
        if (done) done = run.settle();
        const bool completed = done.has_value();
        if (!completed) {
            const auto undone = run.undo();
            if (!undone) return leave(pending, undone.error().message());
        }
        const std::string name = file_name(pending.intent);
        if (run.lost() > 0) {
            warn("{}: intent {}: {} of its objects were not found", label(pending.home), name,
                 run.lost());
        }
        const auto dropped = drop_intent(intents_[pending.home].get(), name);
        if (!dropped) {
            unsettled_.emplace(owner_of(pending).home, pending.intent.mount);
            warn("{}: intent {} can't be removed: {}", label(pending.home), name,
                 dropped.error().message());
        }
        if (completed) run.remove_file_graves();
        ++(completed ? report_.completed : report_.undone);
    }

    // Whether somebody may still want a grave of a dead mount back.
    bool is_wanted(const MountId& mount, std::string_view name) const {
        const auto owner = owner_of_grave(name);
        if (!owner) return false;
        if (!is_here(owner->home) || kept_.contains(*owner)) return true;
        return is_alive_on(owner->home, mount);
    }

    // Another daemon has the mount there, or is settling its records right now.
    bool is_alive_on(const BranchId& home, const MountId& mount) const {
        const auto& alive = left_[by_id_.at(home)].alive;
        return std::ranges::find(alive, mount) != alive.end();
    }

    // Whether no record on another branch can name this one any more.
    bool is_settled(const DeadMount& dead) const {
        return std::ranges::all_of(dead.homes, [&](const BranchId& home) {
            return is_here(home) && !is_alive_on(home, dead.mount) &&
                   !unsettled_.contains({home, dead.mount});
        });
    }

    void sweep(std::size_t branch) {
        for (const DeadMount& dead : left_[branch].dead) {
            bool kept = false;
            const bool settled = is_settled(dead);
            const auto keep = [&](std::string_view name) {
                const bool wanted = is_wanted(dead.mount, name);
                kept = kept || wanted;
                return wanted;
            };
            const auto swept = branches_[branch].work->sweep(dead, keep, settled);
            if (swept) {
                report_.swept += *swept;
            } else {
                warn("{}: what mount {} left can't be swept: {}", label(branch), dead.mount,
                     swept.error().message());
            }
            if (kept) {
                warn("{}: removed objects of mount {} are kept until its intents are settled",
                     label(branch), dead.mount);
            } else if (!settled) {
                warn("{}: keeps its id: intents of mount {} on branch {} may wait for it",
                     label(branch), dead.mount, fmt::join(dead.homes, ", "));
            }
        }
    }

    const std::span<const PlanBranch> branches_;
    std::vector<Leftovers> left_;    // by branch; holds the claims
    std::vector<UniqueFd> intents_;  // by branch
    std::map<BranchId, std::size_t> by_id_;
    std::set<BranchId> copies_;  // ids that several branches of this mount have
    std::set<BranchId> unread_;  // branches whose intents could not be listed
    std::vector<Pending> found_;
    std::set<GraveOwner> kept_;
    std::set<std::pair<BranchId, MountId>> unsettled_;  // records left: on which branch, of whom
    Relocation relocation_;
    RecoveryReport report_;
};

}  // namespace

RecoveryReport recover(std::span<const PlanBranch> branches) {
    return Recovery(branches).run();
}

namespace {

// What can't be told counts as left.
bool settled(std::span<const PlanBranch> branches) {
    return std::ranges::none_of(branches, [](const PlanBranch& branch) {
        return branch.work != nullptr && branch.work->has_records().value_or(true);
    });
}

}  // namespace

bool tidy(std::span<const PlanBranch> branches) {
    const bool is_settled = settled(branches);
    bool gone = true;
    for (const PlanBranch& branch : branches) {
        if (branch.work == nullptr) continue;
        gone = branch.work->remove_if_empty(is_settled).value_or(false) && gone;
    }
    return gone;
}

void leave(std::span<const PlanBranch> branches) {
    const bool is_settled = settled(branches);
    for (const PlanBranch& branch : branches) {
        // What stays is a dead mount's at the next one.
        if (branch.work != nullptr) std::ignore = branch.work->leave(is_settled);
    }
}

}  // namespace plyfs
