// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "sys/file_handle.h"
#include "sys/statx.h"
#include "union/intent.h"
#include "union/intent_file.h"
#include "union/place.h"
#include "union/plan_run.h"

namespace plyfs {
namespace {

std::size_t branch_of(const Step& step) {
    return std::visit([](const auto& one) { return one.branch; }, step);
}

bool lacks_space(Errno error) {
    return error == ENOSPC || error == EDQUOT;
}

Result<void> identify_parent(Place& place) {
    place.parent_identity = Identity::of(TRY(sys::stat_descriptor(place.directory)));
    place.parent_handle = sys::file_handle(place.directory).value_or("");
    return {};
}

Result<void> identify_parents(Step& step) {
    if (auto* move = std::get_if<Move>(&step)) {
        TRY(identify_parent(move->from));
        return identify_parent(move->to);
    }
    if (auto* replace = std::get_if<Replace>(&step)) {
        TRY(identify_parent(replace->from));
        return identify_parent(replace->to);
    }
    return identify_parent(std::get<Bury>(step).place);
}

// One plan of several steps on its way.
class Execution {
public:
    Execution(const Plan& plan, const PlanContext& context) : context_(context) {
        intent_.plan = plan;
        intent_.ids.resize(context.branches.size());
        intent_.sequence = next_sequence();
    }

    // Up to the record's being on disk; nothing is changed before. The first error is returned
    // where no branch takes the record.
    Result<void> prepare() {
        for (Step& step : intent_.plan) {
            TRY(identify_parents(step));
            const std::size_t branch = branch_of(step);
            WorkDirectory& work = *context_.branches[branch].work;
            intent_.ids[branch] = TRY(work.id());
            graves_.push_back({TRY(work.work())});
        }
        Result<void> first;
        for (std::size_t branch = 0; branch < intent_.ids.size(); ++branch) {
            if (intent_.ids[branch].empty()) continue;
            const auto written = write_on(branch);
            if (written) return {};
            if (first) first = written;
        }
        return first;
    }

    Result<void> run() {
        context_.journal.phase(Journal::Phase::Intended, intent_.sequence);
        PlanRun run(intent_.plan, graves_, PlanRun::When::Live);
        auto done = run.forward();
        if (done) done = run.synchronize();
        if (done) done = run.settle();
        if (!done) {
            undo(run, done.error());
            return done;
        }
        drop();
        run.remove_file_graves();
        context_.journal.phase(Journal::Phase::Executed, intent_.sequence);
        return {};
    }

private:
    Result<void> write_on(std::size_t branch) {
        home_ = context_.branches[branch].work;
        intent_.mount = home_->mount();
        intent_.home = intent_.ids[branch];
        for (std::size_t step = 0; step < graves_.size(); ++step) {
            graves_[step].name = grave_name(intent_, step);
        }
        for (std::size_t other = 0; other < intent_.ids.size(); ++other) {
            if (other == branch || intent_.ids[other].empty()) continue;
            TRY(context_.branches[other].work->expect_record_on(intent_.home));
        }
        return write_intent(intent_, *home_);
    }

    void undo(PlanRun& run, Errno reason) {
        const auto undone = run.undo();
        if (!undone) {
            warn(fmt::format("could not undo after \"{}\": {}; the next mount goes on from "
                             "intent {} of branch {}",
                             reason.message(), undone.error().message(), file_name(intent_),
                             intent_.home));
            return;
        }
        drop();
        context_.journal.phase(Journal::Phase::Undone, intent_.sequence);
    }

    void drop() {
        const auto intents = home_->intents();
        const auto dropped =
            intents ? drop_intent(*intents, file_name(intent_)) : fail(intents.error());
        if (dropped) return;
        warn(fmt::format("intent {} of branch {} is settled but can't be removed: {}",
                         file_name(intent_), intent_.home, dropped.error().message()));
    }

    void warn(const std::string& text) const {
        if (context_.warn) context_.warn(text);
    }

    const PlanContext& context_;
    Intent intent_;
    std::vector<Grave> graves_;
    WorkDirectory* home_ = nullptr;
};

}  // namespace

Result<void> execute(const Plan& plan, const PlanContext& context) {
    for (const Step& step : plan) {
        const std::size_t branch = branch_of(step);
        if (branch >= context.branches.size() || context.branches[branch].work == nullptr) {
            return fail(EROFS);
        }
    }
    if (plan.empty()) return {};
    if (plan.size() == 1) return run_alone(plan.front());
    Execution execution(plan, context);
    const auto prepared = execution.prepare();
    if (!prepared && lacks_space(prepared.error())) {
        const auto removed = remove_without_record(plan);
        return !removed && removed.error() == EINVAL ? prepared : removed;
    }
    TRY(prepared);
    return execution.run();
}

}  // namespace plyfs
