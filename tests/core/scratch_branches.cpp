// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/scratch_branches.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/scratch_file_system.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/recovery.h"

namespace plyfs::test {
namespace {

namespace fs = std::filesystem;

std::string parent_of(const std::string& path) {
    return path.substr(0, path.rfind('/'));
}

std::string name_of(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

std::size_t branch_of(const std::string& path) {
    return std::stoul(path);
}

std::string contents(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

ScratchBranches::ScratchBranches(std::size_t count) {
    top_ = scratch_parent() + "/plyfs-core.XXXXXX";
    REQUIRE(::mkdtemp(top_.data()) != nullptr);
    for (std::size_t branch = 0; branch < count; ++branch) {
        const std::string path = host_path(std::to_string(branch));
        REQUIRE(::mkdir(path.c_str(), 0755) == 0);
        roots_.push_back(sys::open_host_path(path, O_PATH | O_DIRECTORY).value());
    }
}

ScratchBranches::~ScratchBranches() {
    fs::remove_all(top_);
}

Attributes ScratchBranches::stat(const std::string& path) const {
    const UniqueFd opened = sys::open_host_path(host_path(path), O_PATH | O_NOFOLLOW).value();
    return sys::stat_descriptor(opened.get()).value();
}

void ScratchBranches::label(const std::string& path) {
    const Attributes attributes = stat(path);
    labels_[{attributes.real.device, attributes.real.inode}] = path;
}

void ScratchBranches::make_directory(const std::string& path) {
    REQUIRE(::mkdir(host_path(path).c_str(), 0755) == 0);
    label(path);
}

void ScratchBranches::make_file(const std::string& path) {
    std::ofstream(host_path(path), std::ios::binary) << path;
    label(path);
}

void ScratchBranches::make_link(const std::string& from, const std::string& to) const {
    REQUIRE(::link(host_path(from).c_str(), host_path(to).c_str()) == 0);
}

void ScratchBranches::make_symlink(const std::string& path, const std::string& target) {
    REQUIRE(::symlink(target.c_str(), host_path(path).c_str()) == 0);
    label(path);
}

Tree ScratchBranches::tree() const {
    Tree tree;
    for (std::size_t branch = 0; branch < count(); ++branch) {
        fs::recursive_directory_iterator entry(host_path(std::to_string(branch)));
        for (; entry != fs::recursive_directory_iterator(); ++entry) {
            if (entry->path().filename() == kWorkDirectoryName) {
                entry.disable_recursion_pending();
                continue;
            }
            const std::string path = entry->path().string().substr(top_.size() + 1);
            const Attributes attributes = stat(path);
            const auto known = labels_.find({attributes.real.device, attributes.real.inode});
            std::string label = known == labels_.end() ? "(unknown)" : known->second;
            if (attributes.is_directory()) label += '/';
            if (attributes.is_regular() && contents(entry->path()) != label) {
                label += " (contents changed)";
            }
            tree.emplace(path, std::move(label));
        }
    }
    return tree;
}

std::vector<std::string> ScratchBranches::names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(top_)) {
        names.push_back(entry.path().string().substr(top_.size() + 1));
    }
    std::ranges::sort(names);
    return names;
}

Place ScratchBranches::place(const std::string& path) {
    const std::string parent = parent_of(path);
    opened_.push_back(sys::open_host_path(host_path(parent), O_PATH | O_DIRECTORY).value());
    const std::size_t slash = parent.find('/');
    return {opened_.back().get(), slash == std::string::npos ? "" : parent.substr(slash + 1),
            name_of(path)};
}

Step ScratchBranches::move(const std::string& from, const std::string& to, Move::Mode mode) {
    return Move{branch_of(from), place(from), place(to), Identity::of(stat(from)), mode};
}

Step ScratchBranches::replace(const std::string& from, const std::string& to) {
    const Attributes victim = stat(to);
    return Replace{branch_of(from),          place(from),          place(to),
                   Identity::of(stat(from)), Identity::of(victim), victim.is_directory()};
}

Step ScratchBranches::bury(const std::string& path) {
    const Attributes attributes = stat(path);
    return Bury{branch_of(path), place(path), Identity::of(attributes), attributes.is_directory()};
}

ScratchMount::ScratchMount(const ScratchBranches& scratch)
    : ScratchMount(scratch, make_mount_id().value()) {}

ScratchMount::ScratchMount(const ScratchBranches& scratch, const MountId& mount) {
    for (std::size_t branch = 0; branch < scratch.count(); ++branch) {
        works_.push_back(std::make_unique<WorkDirectory>(scratch.root(branch), mount));
        branches_.push_back({scratch.root(branch), works_.back().get()});
    }
}

Result<void> ScratchMount::execute(const Plan& plan) {
    NullJournal journal;
    return plyfs::execute(
        plan, {branches_, journal, [this](std::string_view text) { warnings.emplace_back(text); }});
}

bool ScratchMount::tidy_up() {
    return tidy(branches_);
}

}  // namespace plyfs::test
