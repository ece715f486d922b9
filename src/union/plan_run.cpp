// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/plan_run.h"

#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "sys/small_file.h"

namespace plyfs {
namespace {

// The victim of a step, where it has one.
struct Victim {
    Identity identity;
    bool is_directory;
};

std::optional<Victim> victim_of(const Step& step) {
    if (const auto* bury = std::get_if<Bury>(&step)) {
        return Victim{bury->identity, bury->is_directory};
    }
    if (const auto* replace = std::get_if<Replace>(&step)) {
        return Victim{replace->victim, replace->victim_is_directory};
    }
    return std::nullopt;
}

}  // namespace

Result<void> PlanRun::absent(bool elsewhere) {
    if (elsewhere) return {};
    if (when_ == When::Live) return fail(ESTALE);
    ++lost_;
    return {};
}

Result<void> PlanRun::bury_or_defer(const Place& place, const Grave& grave,
                                    const Identity& identity, bool is_directory) {
    const auto buried = entomb(place, grave);
    if (buried) return {};
    const Errno error = buried.error();
    // Another mount or project quota, or no room for the grave's name: unlinking needs neither.
    if (error == EXDEV || error == ENOSPC || error == EDQUOT || error == EMLINK) {
        in_place_.push_back({&place, identity, is_directory});
        return {};
    }
    return buried;
}

Result<void> PlanRun::forward(const Move& move) {
    const Found at_from = TRY(look(move.from, move.identity));
    if (at_from == Found::Same) {
        if (move.mode == Move::Mode::NoReplace) return move_to(move.from, move.to);
        // Two names of one object: exchanging them changes nothing.
        if (TRY(look(move.to, move.identity)) == Found::Same) return {};
        return exchange(move.from, move.to);
    }
    return absent(TRY(look(move.to, move.identity)) == Found::Same);
}

Result<void> PlanRun::exchange_and_bury(const Replace& replace, const Grave& grave) {
    const auto exchanged = exchange(replace.from, replace.to);
    if (exchanged) {
        return bury_or_defer(replace.from, grave, replace.victim, replace.victim_is_directory);
    }
    if (exchanged.error() != EINVAL) return exchanged;
    TRY(entomb(replace.to, grave));
    return move_to(replace.from, replace.to);
}

Result<void> PlanRun::forward(const Replace& replace, const Grave& grave) {
    if (TRY(look(replace.to, replace.identity)) == Found::Same) {
        if (TRY(look(replace.from, replace.victim)) != Found::Same) return {};
        return bury_or_defer(replace.from, grave, replace.victim, replace.victim_is_directory);
    }
    if (TRY(look(replace.from, replace.identity)) != Found::Same) return absent(false);
    switch (TRY(look(replace.to, replace.victim))) {
        case Found::Nothing: return move_to(replace.from, replace.to);
        case Found::Same: return exchange_and_bury(replace, grave);
        case Found::Other: return fail(ESTALE);
    }
    return fail(ESTALE);
}

Result<void> PlanRun::forward(const Bury& bury, const Grave& grave) {
    switch (TRY(look(bury.place, bury.identity))) {
        case Found::Nothing: return {};
        case Found::Same: return bury_or_defer(bury.place, grave, bury.identity, bury.is_directory);
        case Found::Other: return when_ == When::Live ? Result<void>(fail(ESTALE)) : Result<void>();
    }
    return {};
}

Result<void> PlanRun::forward(std::size_t index) {
    const Step& step = plan_[index];
    if (const auto* move = std::get_if<Move>(&step)) return forward(*move);
    if (const auto* replace = std::get_if<Replace>(&step)) {
        return forward(*replace, graves_[index]);
    }
    return forward(std::get<Bury>(step), graves_[index]);
}

Result<void> PlanRun::forward() {
    for (std::size_t index = 0; index < plan_.size(); ++index) TRY(forward(index));
    return look_into_directories();
}

Result<void> PlanRun::look_into_directories() {
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        const auto victim = victim_of(plan_[index]);
        const Grave& grave = graves_[index];
        if (!victim || !victim->is_directory) continue;
        if (TRY(look(grave, victim->identity)) != Found::Same) continue;
        TRY(refuse_unless_empty(grave.directory, grave.name));
        directory_graves_.push_back(&grave);
    }
    for (const InPlace& victim : in_place_) {
        if (!victim.is_directory) continue;
        TRY(refuse_unless_empty(victim.place->directory, victim.place->name));
    }
    return {};
}

Result<void> PlanRun::settle() {
    for (const Grave* grave : directory_graves_) {
        const auto removed = remove_object(*grave, true);
        // Any other error leaves an empty grave to be swept.
        if (!removed && removed.error() == ENOTEMPTY) return removed;
    }
    return remove_in_place();
}

Result<void> PlanRun::remove_in_place() {
    for (const InPlace& victim : in_place_) {
        if (TRY(look(*victim.place, victim.identity)) != Found::Same) continue;
        TRY(remove_object(*victim.place, victim.is_directory));
        TRY(sys::synchronize_directory(victim.place->directory));
    }
    return {};
}

Result<void> PlanRun::back(const Move& move) {
    if (TRY(look(move.from, move.identity)) == Found::Same) return {};
    if (TRY(look(move.to, move.identity)) != Found::Same) return {};
    if (move.mode == Move::Mode::Exchange) return exchange(move.to, move.from);
    return move_to(move.to, move.from);
}

Result<void> PlanRun::back(const Replace& replace, const Grave& grave) {
    if (TRY(look(replace.from, replace.identity)) != Found::Same &&
        TRY(look(replace.to, replace.identity)) == Found::Same) {
        if (TRY(look(replace.from, replace.victim)) == Found::Same) {
            return exchange(replace.to, replace.from);
        }
        TRY(move_to(replace.to, replace.from));
    }
    return exhume(grave, replace.victim, replace.to);
}

Result<void> PlanRun::back(const Bury& bury, const Grave& grave) {
    return exhume(grave, bury.identity, bury.place);
}

Result<void> PlanRun::back() const {
    Result<void> first;
    for (std::size_t index = plan_.size(); index-- > 0;) {
        const Step& step = plan_[index];
        Result<void> undone;
        if (const auto* move = std::get_if<Move>(&step)) {
            undone = back(*move);
        } else if (const auto* replace = std::get_if<Replace>(&step)) {
            undone = back(*replace, graves_[index]);
        } else {
            undone = back(std::get<Bury>(step), graves_[index]);
        }
        if (!undone && first) first = undone;
    }
    return first;
}

Result<void> PlanRun::undo() {
    Result<void> undone = fail(EIO);
    for (int attempt = 0; !undone && attempt < 2; ++attempt) {
        undone = back();
        if (undone) undone = synchronize();
    }
    return undone;
}

Result<void> PlanRun::synchronize() const {
    std::set<int> done{-1};
    const auto once = [&](int directory) -> Result<void> {
        if (!done.insert(directory).second) return {};
        return sys::synchronize_directory(directory);
    };
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        const Step& step = plan_[index];
        if (const auto* move = std::get_if<Move>(&step)) {
            TRY(once(move->from.directory));
            TRY(once(move->to.directory));
            continue;
        }
        if (const auto* replace = std::get_if<Replace>(&step)) {
            TRY(once(replace->from.directory));
            TRY(once(replace->to.directory));
        } else {
            TRY(once(std::get<Bury>(step).place.directory));
        }
        TRY(once(graves_[index].directory));
    }
    return {};
}

void PlanRun::remove_file_graves() {
    for (std::size_t index = 0; index < plan_.size(); ++index) {
        const auto victim = victim_of(plan_[index]);
        const Grave& grave = graves_[index];
        if (!victim || victim->is_directory || grave.directory < 0) continue;
        std::ignore = remove_object(grave, false);
    }
}

}  // namespace plyfs
