// SPDX-License-Identifier: GPL-2.0-or-later
//
// The names of a directory of the union at one moment, each once, in an order that stays: what an
// opendir sees until it rewinds. Immutable once built, so safe to read from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "format/whiteout.h"
#include "sys/result.h"
#include "union/node.h"

namespace plyfs {

class MergedDirectory {
public:
    struct Entry {
        std::uint64_t inode;          // on its branch
        std::uint32_t name_at = 0;    // in the arena
        std::uint16_t name_size = 0;  // bytes
        BranchIndex branch;           // the first in precedence that has the name
        unsigned char type;           // DT_*
        bool several;                 // more than one branch has the name
        bool whiteout = false;        // hides the name; none is left once the branches are merged
    };

    // How the marks in it are read, where the union has read-only branches.
    struct Layer {
        format::DirectoryMarks marks;
        format::MarkRules rules;
        bool lower = false;  // on a read-only branch
    };
    // One branch's directory to read.
    struct Source {
        BranchIndex branch;
        int directory;           // borrowed; O_PATH will do
        bool spare_access_time;  // as far as may be
        std::optional<Layer> layer{};
    };

    // Reads all `sources`, given in precedence; a name is taken from the first that has it.
    // Branches whose directory is large are read in parallel. `hides(name)` leaves names out.
    // Call without locks. An error of one branch is an error: names must not seem to be gone.
    // `stamp`: what stamp() says.
    static Result<MergedDirectory> read(std::span<const Source> sources,
                                        bool (*hides)(std::string_view), std::uint64_t stamp = 0);

    // The same names once more, in a successor process: add() them in their order.
    MergedDirectory() = default;
    void add(std::string_view name, Entry entry);

    // Equal stamps of one directory: nothing has changed in between. 0: not known.
    std::uint64_t stamp() const noexcept { return stamp_; }

    std::size_t size() const noexcept { return entries_.size(); }
    const Entry& entry(std::size_t index) const noexcept { return entries_[index]; }
    // Both live as long as this object.
    const char* c_name(const Entry& entry) const noexcept { return names_.data() + entry.name_at; }
    std::string_view name(const Entry& entry) const noexcept {
        return {c_name(entry), entry.name_size};
    }

private:
    struct Part;
    void add(const Part& part, const Source& source, std::vector<std::uint32_t>& table);

    std::vector<Entry> entries_;
    std::vector<char> names_;
    std::uint64_t stamp_ = 0;
};

}  // namespace plyfs
