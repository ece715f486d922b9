// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plain directories that stand for the branches of a union, removed with the object. Every object
// made here has a label, the place it was made at, so that trees can be compared across runs
// although inode numbers differ.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sys/unique_fd.h"
#include "union/plan.h"

namespace plyfs::test {

// Where in the scratch a file, directory or link was made, for each place that it is at now:
// "0/new" -> "0/old". Directories end in '/'; a file's contents must still be its label.
using Tree = std::map<std::string, std::string>;

class ScratchBranches {
public:
    explicit ScratchBranches(std::size_t count);
    ~ScratchBranches();
    ScratchBranches(const ScratchBranches&) = delete;
    ScratchBranches& operator=(const ScratchBranches&) = delete;

    std::size_t count() const { return roots_.size(); }
    int root(std::size_t branch) const { return roots_[branch].get(); }

    // Paths are BRANCH/PATH, as in a Tree. Parents must exist.
    void make_directory(const std::string& path);
    void make_file(const std::string& path);
    void make_link(const std::string& from, const std::string& to) const;
    void make_symlink(const std::string& path, const std::string& target);

    std::string host_path(const std::string& path) const { return top_ + '/' + path; }

    // Everything outside of the work directories.
    Tree tree() const;
    // Everything, names only: also what is in the work directories.
    std::vector<std::string> names() const;

    // Steps on what is there now; the descriptors stay open as long as this object.
    Place place(const std::string& path);
    Step move(const std::string& from, const std::string& to,
              Move::Mode mode = Move::Mode::NoReplace);
    Step replace(const std::string& from, const std::string& to);
    Step bury(const std::string& path);

private:
    void label(const std::string& path);
    Attributes stat(const std::string& path) const;

    std::string top_;
    std::vector<UniqueFd> roots_;
    std::vector<UniqueFd> opened_;
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> labels_;  // by st_dev, st_ino
};

// A mount of the branches: its work directories, gone with the object as with a killed daemon
// (nothing is tidied up).
class ScratchMount {
public:
    explicit ScratchMount(const ScratchBranches& scratch);
    ScratchMount(const ScratchBranches& scratch, const MountId& mount);

    std::span<const PlanBranch> branches() const { return branches_; }
    WorkDirectory& work(std::size_t branch) { return *works_[branch]; }

    // execute(), as the union calls it; what it warns of is in `warnings`.
    Result<void> execute(const Plan& plan);

    // What an unmount does. True: no branch has a work directory any more.
    bool tidy_up();

    std::vector<std::string> warnings;

private:
    std::vector<std::unique_ptr<WorkDirectory>> works_;
    std::vector<PlanBranch> branches_;
};

}  // namespace plyfs::test
