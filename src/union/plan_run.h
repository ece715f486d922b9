// SPDX-License-Identifier: GPL-2.0-or-later
//
// Doing and undoing the steps of a plan, whatever part of them has been done already: each step
// looks where its objects are and goes on from there. What a live execution and recovery share.
//
// Borrows the descriptors of the places; one of -1 is a directory that is not there any more.
// Used by one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "union/place.h"

namespace plyfs {

class PlanRun {
public:
    enum class When : std::uint8_t {
        Live,      // an object that is not where the plan says is an error: ESTALE
        Recovery,  // such an object has been dealt with, or is nobody's business any more
    };

    // `graves`: one for each step. Both are borrowed.
    PlanRun(const Plan& plan, const std::vector<Grave>& graves, When when)
        : plan_(plan), graves_(graves), when_(when) {}

    // Does what is not done yet, and looks that nothing is in the directories to be removed
    // (ENOTEMPTY). Stops at the first error.
    Result<void> forward();

    // Undoes what is done, last step first, and makes that durable. What can't be undone at first
    // is tried once more: an error here leaves names half changed, which must not hang on one
    // failed call. Goes on after an error and returns the first one.
    Result<void> undo();

    // Makes the names durable that the steps changed.
    Result<void> synchronize() const;

    // The last part that can fail: removes the buried directories, then, in place, what could not
    // be buried. undo() is still possible, except for what has been removed by then: empty
    // directories where somebody put something into a later one since forward() looked
    // (ENOTEMPTY), or all but the last of several objects that could not be buried.
    Result<void> settle();

    // Past the last point where anything could be undone. What is left is swept by recovery.
    void remove_file_graves();

    // Steps whose object was found nowhere.
    std::size_t lost() const noexcept { return lost_; }

private:
    // A victim that can't be renamed into its grave.
    struct InPlace {
        const Place* place;
        Identity identity;
        bool is_directory;
    };

    Result<void> forward(std::size_t index);
    Result<void> forward(const Move& move);
    Result<void> forward(const Replace& replace, const Grave& grave);
    Result<void> exchange_and_bury(const Replace& replace, const Grave& grave);
    Result<void> forward(const Bury& bury, const Grave& grave);
    Result<void> look_into_directories();
    Result<void> remove_in_place();
    Result<void> bury_or_defer(const Place& place, const Grave& grave, const Identity& identity,
                               bool is_directory);
    Result<void> absent(bool elsewhere);

    Result<void> back() const;
    static Result<void> back(const Move& move);
    static Result<void> back(const Replace& replace, const Grave& grave);
    static Result<void> back(const Bury& bury, const Grave& grave);

    const Plan& plan_;
    const std::vector<Grave>& graves_;
    const When when_;
    std::vector<InPlace> in_place_;
    std::vector<const Grave*> directory_graves_;
    std::size_t lost_ = 0;
};

}  // namespace plyfs
