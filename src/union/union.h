// SPDX-License-Identifier: GPL-2.0-or-later
//
// The union: every verb of the file system on nodes, names and handles, independent of FUSE. Verbs
// return by value, so that no lock can be held while a reply is sent. All are thread-safe.
//
// Lock order, outermost first:
//   1. rename_mutex_         renames between two directories, one at a time
//   2. Node::mutex           a parent before its child; two parents only under 1, the upper one
//                            first; below the parents one directory at most, or files by id: so
//                            whoever waits in a circle would wait for something above itself
//   3. moves_                shared while a directory is reached by its route, alone while a
//                            directory gets another route
//   4. leaf locks            tables, caches, a node's open files; nothing is taken under them
// No lock is held across a notification to the kernel, a TBB call or the copying of data.
//
// Errnos beside those of the branch's file system: ESTALE, the node is not known or the object is
// not there any more (the VFS looks the path up once more then); EROFS, the object is on read-only
// branches only; EPERM, the name is one that the union hides.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/options.h"
#include "copyup/copy_object.h"
#include "format/handle_record.h"
#include "format/link_count.h"
#include "format/protection.h"
#include "format/redirect.h"
#include "format/whiteout.h"
#include "sys/file_system_space.h"
#include "union/branch.h"
#include "union/copy_up_counters.h"
#include "union/copy_ups.h"
#include "union/counts.h"
#include "union/directory_cache.h"
#include "union/handle_table.h"
#include "union/inode_flags.h"
#include "union/inode_number.h"
#include "union/listings.h"
#include "union/merged_directory.h"
#include "union/node_table.h"
#include "union/plan.h"
#include "union/policy.h"
#include "union/saved_state.h"
#include "union/verb_values.h"

namespace plyfs {

struct UnionOptions {
    config::PolicyOptions policies;
    std::size_t open_directories = 1024;  // descriptors kept for speed
    bool xattrs = true;
    format::MarkRules marks;  // which are believed; for unions with read-only branches
    // Copies are on disk before they are seen.
    bool durable_copies = true;
    // Directories that read-only branches have a part of can be renamed; else EXDEV.
    bool redirect = true;
    // A change of attributes alone makes a copy without data.
    bool metacopy = false;
    // A lower file with several names is copied up once for all of them.
    bool index = true;
    // Where copies go; the policy of create where absent.
    std::optional<config::Policy> copy_up_policy;
    // Told, a line at a time, what an administrator should know. May be empty.
    std::function<void(std::string_view)> warn;
    // Told of names that lead to another node by now. Called with locks held: it must return at
    // once. May be empty.
    std::function<void(NodeId parent, const std::string& name)> outdated;
    // Told of nodes of non-directories that are no more: the id never comes back. The same.
    std::function<void(NodeId)> destroyed;
    // Names of listings that are remembered, so that the kernel may keep what it holds of them.
    std::size_t listed_names = 250'000;
    // What has changed more recently may change once more without another time, unless its branch
    // has fine times: file systems count in ticks, of 2 s at most.
    std::chrono::nanoseconds tick = std::chrono::seconds(2);
    // Files that may be open at a time; one more is answered with EMFILE. What else is done needs
    // descriptors too.
    std::size_t open_files = 1'000'000;
};

class Union {
public:
    // `branches` is not empty.
    Union(BranchSet branches, UnionOptions options);
    ~Union();

    const BranchSet& branches() const noexcept { return branches_; }
    // At unmount, before the work directories are tidied up: takes away what was kept in them.
    void release_work();
    UnionCounts counts() const;
    // At mount, before the first request: takes out of the indexes of the branches the copies that
    // no name leads to any more, as a crash leaves them. Those of lower files that are gone stay:
    // the layers may be the wrong ones. Warns of what can't be done.
    IndexSweep sweep_indexes() const;

    // Names and nodes.
    // ENOENT: no branch has it.
    Result<Entry> lookup(NodeId parent, Name name);
    void forget(NodeId node, std::uint64_t count);
    // `handle` 0: none.
    Result<Attributes> getattr(NodeId node, HandleId handle = 0);
    // Readers keep, or kept, what the node was: another node is the file (snapshot.h).
    bool superseded(NodeId node) const;
    Result<Attributes> setattr(const Request& request, NodeId node, const AttributeChange& change,
                               HandleId handle = 0);
    Result<std::string> readlink(NodeId node);

    // Making. The policy's branches are tried in turn on ENOSPC, EDQUOT and EROFS.
    Result<Entry> mknod(const Request& request, NodeId parent, Name name, mode_t mode,
                        dev_t device);
    Result<Entry> mkdir(const Request& request, NodeId parent, Name name, mode_t mode);
    Result<Entry> symlink(const Request& request, NodeId parent, Name name, const char* target);
    Result<Entry> link(const Request& request, NodeId node, NodeId new_parent, Name new_name);
    Result<CreatedFile> create(const Request& request, NodeId parent, Name name, mode_t mode,
                               int flags);
    Result<CreatedFile> tmpfile(const Request& request, NodeId parent, mode_t mode, int flags);

    // Removing and renaming. `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE; others EINVAL.
    Result<void> unlink(const Request& request, NodeId parent, Name name);
    Result<void> rmdir(const Request& request, NodeId parent, Name name);
    Result<void> rename(const Request& request, NodeId parent, Name name, NodeId new_parent,
                        Name new_name, unsigned flags);

    // Files. A handle is released once, whatever was answered in between.
    // `drop_set_id`: with O_TRUNC, as in AttributeChange.
    // ESTALE, too: readers keep what the node was (snapshot.h), the path leads to another one by
    // now. ETXTBSY: the same, where no path leads here. EMFILE: see UnionOptions::open_files.
    Result<OpenedFile> open(const Request& request, NodeId node, int flags, bool drop_set_id);
    // `node` is open in a way that keeps it from being opened as it must be: it gets a successor.
    // Returns the answer: ESTALE, or ETXTBSY where no path leads here.
    Errno part(const Request& request, NodeId node);
    // `thread` asked for a path that leads nowhere (see open).
    void moved_on(pid_t thread) { turned_away_.moved_on(thread); }
    std::shared_ptr<const FileHandle> file(HandleId handle) const { return files_.find(handle); }
    void release(HandleId handle) { files_.remove(handle); }

    // Directories.
    Result<HandleId> opendir(NodeId node);
    // After opendir: what the kernel may do with the listing that it holds of the directory, if
    // any. Once the attributes handed out with it are older than `validity` it is not kept where
    // its names were asked for one by one after it was kept before, or for a caller who
    // `wants_attributes`: reading names and attributes together is faster then.
    ListingUse recall_listing(HandleId handle, std::chrono::nanoseconds validity,
                              bool wants_attributes);
    // Calls visit(entry) for the names from `offset` on until it returns false. Offset 0 takes a
    // new snapshot unless nothing was read yet. Returns whether the kernel must forget what it
    // holds of the directory before this is answered: it may be mixed of two listings.
    Result<bool> readdir(HandleId handle, std::uint64_t offset,
                         const std::function<bool(const DirectoryEntry&)>& visit);
    void releasedir(HandleId handle);
    Result<void> fsyncdir(NodeId node, bool data_only);

    // Extended attributes. Empty spans ask for sizes. ENOTSUP: turned off.
    Result<std::size_t> getxattr(NodeId node, const char* name, std::span<std::byte> value);
    Result<std::size_t> listxattr(NodeId node, std::span<std::byte> names);
    // `keep_set_id`: the caller may keep SGID when an ACL is set.
    Result<void> setxattr(const Request& request, NodeId node, const char* name,
                          std::span<const std::byte> value, int flags, bool keep_set_id);
    Result<void> removexattr(const Request& request, NodeId node, const char* name);

    // The inode flags of what the union shows, and setting them: of a directory on all branches
    // that the action policy (for chmod) chooses. The kernel has checked who may. `handle`: of a
    // file that is open, 0 of a directory. EPERM: the branch keeps no mark of append-only and
    // immutable.
    Result<InodeFlags> inode_flags(NodeId node, HandleId handle, InodeFlags::Form form) const;
    Result<void> set_inode_flags(const Request& request, NodeId node, HandleId handle,
                                 const InodeFlags& flags);
    // Before fallocate(2), with its mode. EPERM: the inode flags of the file forbid it.
    Result<void> check_allocate(const FileHandle& file, int mode) const;

    // What the data of `file` is read from by now: its descriptor, or, where the file was copied
    // up since it was opened, one of the copy. Takes the node's lock, shared.
    Result<std::shared_ptr<const UniqueFd>>
    data_of(const std::shared_ptr<const FileHandle>& file) const;
    // Whether whatever changes the object of the branch from now on is told by its change time.
    bool is_settled(const Attributes& attributes, BranchIndex branch) const;
    // There is a branch that takes copies.
    bool writable() const noexcept { return writable_; }

    FileSystemSpace statfs();

    // Tells `keep` of everything that the kernel may refer to, for a successor process
    // (union_restoration.h), while no request is served. `descriptors` borrows from this object.
    void save(GivenDescriptors& descriptors,
              const std::function<void(const SavedState&)>& keep) const;

private:
    friend class UnionRestoration;

    // One branch's object of a name, as found.
    struct Hit {
        BranchIndex branch;
        DirectoryRef parent;
        Attributes attributes;
        DirectoryRef self{};       // of a directory, where it was opened to read its marks
        std::string lower_path{};  // where a redirect led, from the branch's root; else empty
    };
    // The copy of a lower file, as the index of a branch has it.
    struct IndexedCopy {
        BranchIndex branch;
        Attributes attributes;
        std::string entry;
    };
    // All of a name. Copies of directories are made on further branches meanwhile without the lock
    // of their parent, so what they were found as is dated.
    struct Hits : boost::container::small_vector<Hit, 4> {
        std::uint64_t dated = 0;  // NodeTable::copies_made() before looking
        Stack unseen;             // branches that failed: the name may be there
        Stack whiteouts;          // writable branches that hide the name on read-only ones
        // The file was copied up under another name: this is what the union shows. None of the hits
        // is on a writable branch then.
        std::optional<IndexedCopy> indexed;
        // Each name of this lower file gets a copy of its own: there is no index for it.
        bool alone = false;
    };
    // How the search for a name goes down the branches.
    struct Descent {
        bool ended = false;  // what read-only branches have from here on is not seen
        std::optional<format::Redirect> redirect;  // where they have it, if not under the name
        format::Below below = format::Below::Something;  // the branch that is asked now
    };

    // ---- finding (lookup.cpp) ----
    // That is what a branch answers where a directory, or one above it, is not there.
    static bool is_absent(Errno error) { return error == ENOENT || error == ENOTDIR; }
    // The branch can't take it, but another one may.
    static bool another_may_do(Errno error) {
        return error == ENOSPC || error == EDQUOT || error == EROFS;
    }
    // ESTALE: unknown. ENOTDIR: not a directory. own_node(): the one that the kernel knows by that
    // id; node(): or its successor.
    Result<NodeRef> own_node(NodeId id) const;
    Result<NodeRef> node(NodeId id) const;
    Result<NodeRef> directory(NodeId id) const;
    bool hidden(const Node& parent, Name name) const;
    // All that the branches of `parent` have under `name`; none is no error. What the union shows
    // (the search policy's choice for getattr) comes first, the others in precedence.
    // Scope::Shown: no more than it takes to know that; an error of one branch is returned only if
    // no other has the name. Scope::All: to change them, so that every branch must answer.
    enum class Scope : std::uint8_t { Shown, All };
    // One branch's part of find(). Adds to `hits`; no hit is no error.
    Result<void> see(const Node& parent, Name name, BranchIndex branch, Descent& descent,
                     Hits& hits) const;
    // Where `name` of `parent` is looked for on `branch`: the directory and the name in it.
    struct Spot {
        DirectoryRef directory;
        std::string name;
        std::string lower_path;  // as in Hit
    };
    Result<Spot> spot(const Node& parent, Name name, BranchIndex branch, Descent& descent) const;
    // The same by the absolute redirect of `descent`.
    Result<Spot> spot_from_root(BranchIndex branch, Descent& descent) const;
    // Whether a read-only branch shows an object under the name once the writable ones have none.
    Result<bool> is_covered(const Node& parent, Name name) const;
    // What the mark on disk says; one that makes no sense is an error of that object (EIO).
    Result<std::optional<format::Redirect>> redirect_of(int object) const;
    // Where the layers below go on when a directory on the way of `current` says `found`; `rest`
    // components of the way are below that directory.
    static format::Redirect redirected(const std::optional<format::Redirect>& current,
                                       std::size_t rest, format::Redirect found);
    bool is_lower(BranchIndex branch) const { return !branches_[branch]->writable(); }
    // The policy shows what the first branch has: there is no need to look at the others.
    static bool in_order(config::Policy policy);
    Result<Hits> find(const Node& parent, Name name, Scope scope) const;
    void show_first(Hits& hits, config::Policy policy) const;
    // The node of what `hits` show. Needs the lock of `parent`.
    NodeRef intern(const NodeRef& parent, Name name, const Hits& hits);
    // The attributes of a directory that stands in several branches: those of the first, with the
    // latest times; the inode number is of the eldest copy, since copies made later, on other
    // branches, are younger, so that making them changes no number.
    // `writable`: so many of them, the first ones, are on writable branches.
    static Attributes merge(std::span<const Attributes> attributes, std::size_t writable);
    // With the number that a copied-up object had before.
    Result<Attributes> as_shown(const Node& node, Attributes attributes) const;
    Result<Attributes> directory_attributes(const Node& node) const;
    Result<Attributes> object_attributes(const Node& node) const;
    Result<std::uint64_t> inode_of(const Attributes& attributes, int descriptor) const;
    // The same for what was found as `name` on a branch.
    Result<std::uint64_t> inode_of(const Attributes& attributes, Name name, int parent,
                                   BranchIndex branch) const;
    // What the union shows of `hits` under `name`, which are not empty.
    Result<Attributes> shown_attributes(const Hits& hits, Name name) const;
    // Hands `node` out.
    Result<Entry> entry(const NodeRef& node, const Hits& hits, Name name);
    // The hits of directories among `hits` are where `node` stands: nobody has made a copy since.
    bool complete(const Node& node, const Hits& hits) const;

    // ---- reaching (reach.cpp) ----
    // The directory of `node` on `branch`. ENOENT, ENOTDIR: it is not there. Takes moves_.
    Result<DirectoryRef> open_directory(const Node& node, BranchIndex branch) const;
    // The same with moves_ held by the caller.
    Result<DirectoryRef> open_directory_unmoved(const Node& node, BranchIndex branch) const
        REQUIRES_SHARED(moves_);
    // The directory `path` from the branch's root; empty: the root itself.
    Result<UniqueFd> open_base(BranchIndex branch, const std::string& path) const;
    // The path of `directory` on `branch`. ENOENT: it was removed.
    Result<std::string> lower_path(const Node& directory, BranchIndex branch) const;
    // The object itself, on the branch that was chosen for it, verified to be the one that the
    // node is: O_PATH or opened. Needs the lock of `node`, at least shared. ESTALE: it is gone.
    // `found`, where given, is set to its attributes on the branch if they had to be read anyway;
    // else its mode stays 0.
    Result<UniqueFd> open_object(const Node& node, int flags, Attributes* found = nullptr) const;
    Result<UniqueFd> open_shown(const Node& node) const;
    // The same through the index, where `node` is in it; none: it is not.
    Result<UniqueFd> open_indexed(const Node& node, const Location& location, int flags) const;
    struct OpenCopy {
        UniqueFd object;  // O_PATH
        BranchIndex branch;
    };
    // One for each branch that has a copy of `node`, chosen by the action policy, the one that the
    // union shows first if it is among them. Needs the lock of `node`. EROFS, ESTALE.
    Result<std::vector<OpenCopy>> open_copies(const Node& node, config::Function function) const;
    Result<std::vector<OpenCopy>> open_directory_copies(const Node& node,
                                                        config::Function function) const;

    // ---- inode flags (protection.cpp) ----
    // Append-only and immutable, of what the union shows: the flags themselves on a read-only
    // branch, else what the mark says. Needs the lock of a non-directory, at least shared.
    Result<format::Protection> protection(const Node& node) const;
    // The same of a non-directory on a writable branch that is open as `object`.
    Result<format::Protection> protection_of(const Node& node, int object) const;
    Result<format::Protection> directory_protection(const Node& node) const;
    // Of what was found as `name`: flags or mark.
    Result<format::Protection> protection(const Hits& hits, Name name) const;
    // EPERM: they forbid it. Of these, check_attributes, check_change and check_open take the lock
    // of the node.
    Result<void> check_adding(const Node& directory) const;
    Result<void> check_removing(const Node& directory, Name name, const Hits& hits) const;
    Result<void> check_attributes(const Node& node) const;
    Result<void> check_change(const Node& node, const AttributeChange& change,
                              HandleId handle) const;
    Result<void> check_open(const Node& node, int flags) const;
    // `node` open for reading: by its handle, or as `opened`.
    Result<int> readable(const Node& node, HandleId handle, UniqueFd& opened) const;
    Result<void> write_flags(int object, BranchIndex branch, const FlagChange& change) const;
    // Marks a copy with those of `flags` (FS_*_FL) that it can't have itself, as far as the branch
    // takes the mark.
    Result<void> keep_protection(std::uint32_t flags, int copy, BranchIndex branch) const;

    // ---- making (create.cpp, parents.cpp) ----
    // None: the branch can't be asked.
    std::optional<BranchFacts> facts(BranchIndex branch, bool exists,
                                     Timestamp modification_time) const;
    // Of all: no copy must be left out of what is changed. EIO: a branch can't be asked.
    Result<std::vector<BranchFacts>> facts(const Hits& hits) const;
    // `instead`: of the function's own policy.
    Result<CreateChoice> choose_targets(const Node& parent, config::Function function,
                                        std::optional<config::Policy> instead = {}) const;
    // The directory of `node` on `branch`, made there with its parents if it lacks them, with the
    // owner, mode, times and extended attributes of the one seen. Takes moves_.
    Result<DirectoryRef> ensure_directory(const NodeRef& node, BranchIndex branch);
    // `why`: what opening it has answered, ENOENT or ENOTDIR.
    Result<DirectoryRef> clone_directory(const NodeRef& node, const RouteStep& step,
                                         const OpenDirectory& branch_parent, BranchIndex branch,
                                         Errno why) REQUIRES_SHARED(moves_);
    // A directory on its way to a branch that lacks it.
    struct DirectoryCopy {
        DirectoryRef source;
        BranchIndex source_branch;
        Name name;
        const OpenDirectory& parent;
        BranchIndex branch;
        bool over_whiteout;  // which it replaces, hiding what the whiteout has hidden
        std::optional<format::Redirect> redirect;  // to the part that read-only branches have
    };
    Result<void> place_directory(const DirectoryCopy& copy) const;
    Result<void> mark_directory_copy(const DirectoryCopy& copy,
                                     const copyup::CopiedObject& made) const;
    // Makes an object by `make(directory, name)` on the branches that the policy chooses and
    // hands it out. Needs the lock of `parent`, alone.
    using Make = std::function<Result<void>(int directory)>;
    Result<Entry> make_object(const Request& request, const NodeRef& parent, Name name,
                              config::Function function, const Make& make);
    // The writable branches that have a whiteout of it. EEXIST: a branch has the name. EPERM: it is
    // hidden.
    Result<Stack> check_absent(const Node& parent, Name name) const;
    // Tries `make_on(branch, directory)` on each candidate until one does not lack room.
    template <typename MakeOn>
    auto make_on_first(const NodeRef& parent, const BranchList& candidates, MakeOn&& make_on)
        -> decltype(make_on(BranchIndex{}, 0));
    // A regular file just made, not in the table of nodes yet.
    struct MadeFile {
        UniqueFd descriptor;
        Attributes attributes;
        BranchIndex branch;
    };
    // Makes one by `open_in(directory)`, with the caller's ids, where the policy for create wants
    // it. Needs the lock of `parent`, alone.
    template <typename OpenOn>
    Result<MadeFile> make_file(const NodeRef& parent, OpenOn&& open_on);
    // Where an object is about to be made.
    struct NewPlace {
        BranchIndex branch;
        int directory;  // borrowed
        Name name;
    };
    // Calls make(directory) with the caller's ids; where `whiteouts` has the branch, the object
    // takes the place of the whiteout in one step.
    Result<void> make_as_caller(const Request& request, const NewPlace& place,
                                const Stack& whiteouts, const Make& make) const;
    Result<void> make_over_whiteout(const Request& request, const NewPlace& place,
                                    const Make& make) const;
    // The object `place.name` of `nursery`, which has taken the caller's ids already.
    Result<void> replace_whiteout(int nursery, const NewPlace& place) const;
    CreatedFile hand_out(MadeFile made, const NodeRef& node, int flags);
    // What is kept open of `node` and the directories above it on `branch` is closed.
    void drop_route(const Node& node, BranchIndex branch);
    OpenedFile opened(FileHandle handle, const Attributes& attributes);
    // ---- opening (file.cpp) ----
    Result<OpenedFile> open_snapshot(const NodeRef& node, std::shared_ptr<const Snapshot> snapshot,
                                     int flags);
    // Before the data of `node` change: where readers keep them, the node gets a successor, and
    // ESTALE or ETXTBSY are returned. Takes the node's lock.
    Result<void> part_from_readers(const Request& request, const NodeRef& node);
    // The same on a node that has a successor.
    Errno turn_away(const Request& request, const Node& node);
    // Needs the node's lock, alone.
    Errno supersede(const Request& request, const NodeRef& node, bool same_file);
    // The file of `node` opened. Needs its lock, at least shared.
    struct OpenedObject {
        UniqueFd descriptor;
        Attributes attributes;
        BranchIndex branch;
    };
    Result<OpenedObject> open_for(const Node& node, int flags, bool drop_set_id);
    // What open(2) on a branch is given of the flags of an open.
    static int open_file_flags(int flags);

    // Under which name an application's attribute is kept: nobody can forge a mark.
    Result<std::string> stored_xattr(const char* name) const;

    // ---- hiding (whiteouts.cpp) ----
    // The branch that takes whiteouts: the last one that new objects may be made on. EROFS.
    Result<BranchIndex> whiteout_branch() const;
    // Removes the writable copies (none is all right) and hides what is below. Needs the lock of
    // `parent`, alone. EROFS: no branch takes a whiteout.
    Result<void> remove_and_hide(const Request& request, const NodeRef& parent, Name name,
                                 const Hits& copies);
    Result<void> hide_in_plan(const Request& request, const NodeRef& parent, Name name,
                              const Hits& copies, BranchIndex branch);
    // Removes a directory in which there is nothing but whiteouts.
    Result<void> discard_directory(const Hit& hit, Name name) const;
    // The same for one that was renamed into the work directory. Best effort: the next mount
    // sweeps what is left.
    void empty_grave(BranchIndex branch, const std::string& temporary) const;
    // Those of the `copies` of the directory `node` in which there is nothing but whiteouts are
    // each replaced by an empty one that hides the same, in one step: plans remove what is empty on
    // disk. True: there was one.
    Result<bool> clear_whiteouts(const Node& node, Name name, const Hits& copies) const;

    // ---- copying up (copy_up.cpp) ----
    enum class CopyNeed : std::uint8_t {
        Data,        // as it is
        Truncated,   // empty: its data is about to go
        Attributes,  // as it is; its data may stay below
    };
    // One object on its way up.
    struct UpperCopy {
        NodeRef node;
        CopyNeed need;
        UniqueFd source;                         // O_PATH
        Attributes shown;                        // as the union showed it
        Location place;                          // where it was found
        std::string index_entry;                 // of a file with several names; else empty
        std::optional<format::Redirect> bare{};  // it goes without its data, which are there
    };
    // It is on read-only branches only.
    bool needs_copy_up(const Node& node) const;
    // The branches to try, those with room for `bytes` first.
    Result<BranchList> copy_up_targets(const Node& parent, std::uint64_t bytes) const;
    // `node` is on a writable branch when this returns. Takes locks: the caller holds none. EROFS:
    // no branch takes it. EINTR: the caller gave up. ESTALE: it was renamed meanwhile.
    Result<void> copy_up(const Request& request, const NodeRef& node, CopyNeed need);
    Result<void> copy_directory_up(const NodeRef& node);
    Result<void> copy_object_up(const Request& request, const NodeRef& node, CopyNeed need);
    Result<void> copy_up_to(const Request& request, const UpperCopy& copy, BranchIndex branch);
    // Marks the copy, waits for the disk, and puts it in place.
    Result<void> finish_copy(const UpperCopy& copy, const copyup::CopiedObject& copied,
                             BranchIndex branch, int work, Name temporary);
    Result<void> publish_copy(const UpperCopy& copy, const copyup::CopiedObject& copied,
                              BranchIndex branch, int work, Name temporary, std::uint64_t inode);
    Result<void> mark_origin(int source, BranchIndex lower, int copy, BranchIndex branch) const;
    // Before what has an origin gets a name in `directory` on `branch`: readdir looks for numbers
    // of origins only where the mark is, here and in overlayfs (ovl_set_impure).
    Result<void> mark_impure(const OpenDirectory& directory, BranchIndex branch) const;
    // `object` (O_PATH) is a non-directory on a writable branch; `node`: its node, null if none is
    // known.
    Result<bool> has_origin(const NodeRef& node, int object) const;
    // What an object was copied up from.
    struct Origin {
        std::uint64_t inode = kOwnInode;  // its st_ino; kOwnInode: nothing, or nobody knows
        std::optional<format::HandleRecord> record;
    };
    Result<Origin> origin_of(int object) const;
    // False: `hit`, a non-directory on a writable branch, need not be asked. Whoever puts what has
    // an origin into a directory marks that impure (mark_impure; overlayfs since Linux 4.12). What
    // lacks the mark all the same has the number of its own, and all else as ever: redirects, data
    // and the index are not found by the origin.
    Result<bool> may_have_origin(const Hit& hit) const;
    // The attributes of the object at `hit` with that number, if it has one.
    Result<Attributes> with_origin(const Hit& hit, Name name, Attributes attributes) const;

    // ---- copies without data (metacopy.cpp) ----
    struct LowerData {
        UniqueFd object;  // O_PATH
        BranchIndex branch;
    };
    Result<bool> lacks_data(int object) const;
    // The data of a file called `place` that lacks them on the branch `above`; none: they are not
    // there.
    Result<std::optional<LowerData>>
    find_data(const NodeName& place, BranchIndex above,
              const std::optional<format::Redirect>& redirect) const;
    // The data of `node`, open as `object`, where they are not its own. Needs the lock of `node`,
    // at least shared. EIO: they are nowhere.
    Result<std::optional<LowerData>> data_below(const Node& node, int object) const;
    static Result<UniqueFd> open_data(const LowerData& data, int flags);
    // Copies the data into `copy`, which keeps its attributes.
    Result<void> fill(const Request& request, const LowerData& data, int copy) const;
    // `node`, which is on a writable branch, has its data itself when this returns. Takes locks.
    Result<void> bring_data(const Request& request, const NodeRef& node, CopyNeed need);
    // The data of `node` are found when it has another name. Takes locks.
    Result<void> make_movable(const Request& request, const NodeRef& node);
    // Where the data of a copy without them are found; none: they are copied.
    Result<std::optional<format::Redirect>> bare_copy(const UpperCopy& copy) const;
    Result<void> mark_bare(int copy, BranchIndex branch, const format::Redirect& redirect) const;
    // Corrects `attributes.blocks` of a file whose data are below, as far as that can be told.
    void show_blocks(const Node& node, Attributes& attributes) const;

    // ---- lower files with several names (hard_links.cpp) ----
    // What the index calls the object `lower` of a read-only branch; none: it is not indexed.
    Result<std::optional<std::string>> index_entry(int lower, BranchIndex branch,
                                                   const Attributes& attributes) const;
    // Sets `hits.indexed`.
    Result<void> see_index(Hits& hits, Name name) const;
    // `node`, found as `hit`, was copied up from `origin`: under its entry, if it has one.
    Result<void> recognize_indexed(const NodeRef& node, const Hit& hit,
                                   const format::HandleRecord& origin) const;
    // A crash may have left the number relative to the lower file: it is made relative to the copy.
    Result<void> settle_count(const std::string& entry, BranchIndex branch) const;
    Result<void> write_count(int copy, BranchIndex branch, const format::LinkCount& count) const;
    Result<std::uint32_t> lower_links(const std::string& entry) const;
    // st_nlink of the union, of what is open as `copy` and has `links` names on its branch.
    Result<std::uint32_t> shown_links(const std::string& entry, int copy,
                                      std::uint32_t links) const;
    // Corrects `attributes.links` of the copy.
    Result<void> count_indexed(const std::string& entry, BranchIndex branch,
                               Attributes& attributes) const;
    Result<void> publish_indexed(const UpperCopy& copy, const copyup::CopiedObject& copied,
                                 BranchIndex branch, int work, Name temporary);
    // The indexed `node` has the name on its branch when this returns. Takes locks.
    Result<void> give_name(const NodeRef& parent, Name name, const NodeRef& node);
    Result<void> link_indexed(const Hits& hits, const OpenDirectory& directory, Name name) const;
    // Before the name of a lower file is removed: it is copied up if it has others, so that their
    // number can be kept. Takes locks: the caller holds none.
    Result<void> keep_count(const Request& request, const NodeRef& parent, Name name);
    enum class IndexEntryState : std::uint8_t {
        Used,    // or nobody knows
        Orphan,  // no name of the union is left
        Stale,   // only a name below would lead to it, and the lower file is gone
    };
    Result<IndexEntryState> state_of(const std::string& entry, int copy) const;
    Result<IndexSweep> sweep_index(BranchIndex branch) const;
    // After a name was removed: takes what is left in the index away if it was the last.
    void drop_unnamed(const NodeRef& node) const;

    // ---- reading directories (readdir.cpp) ----
    Result<std::shared_ptr<const MergedDirectory>> take_snapshot(const Node& node) const;
    // The same with the lock of `node` held by the caller.
    Result<std::shared_ptr<const MergedDirectory>> read_names(const Node& node) const;
    struct OpenedSources {
        boost::container::small_vector<MergedDirectory::Source, 4> sources;
        boost::container::small_vector<DirectoryRef, 4> directories;  // keeps them open
    };
    Result<OpenedSources> open_sources(const Node& node) const;
    Result<std::shared_ptr<const MergedDirectory>>
    merge_names(const Node& node, const OpenedSources& opened, std::uint64_t stamp = 0) const;
    // Of what the names are read from (MergedDirectory::stamp).
    Result<std::uint64_t> stamp_of(const Node& node, const OpenedSources& opened) const;
    // Objects of the directory on a writable branch may have been copied up.
    Result<bool> is_impure(const Node& directory, BranchIndex branch) const;
    struct ListedObject {
        std::uint64_t inode;
        unsigned char type;  // DT_*
    };
    Result<ListedObject> listed_object(const Node& directory, const MergedDirectory& names,
                                       const MergedDirectory::Entry& entry) const;
    // st_ino of "." and "..".
    std::uint64_t own_inode(const Node& directory) const;
    std::uint64_t parent_inode(const Node& directory) const;

    // ---- removing (remove.cpp, rename.cpp) ----
    struct RenameSide;
    std::vector<PlanBranch> plan_branches() const;
    Result<void> execute_plan(const Request& request, const Plan& plan) const;
    // The path of `directory` from a branch's root. ENOENT: it was removed.
    Result<std::string> path_on_branch(const Node& directory) const;
    // Those of `hits` that the action policy chooses, in precedence. EROFS.
    Result<Hits> chosen_hits(const Hits& hits, config::Function function) const;
    // What unlink (or rmdir) of the name is about. ENOENT, EISDIR, ENOTDIR.
    Result<Hits> removable(const Node& parent, Name name, bool directories) const;
    struct Removal {
        Hits chosen;         // on writable branches
        bool whole = false;  // none is left on writable branches
        bool hides = false;  // what read-only branches have has to be hidden
    };
    Result<Removal> plan_removal(const Node& parent, Name name, const Hits& hits,
                                 config::Function function) const;
    Result<void> remove(const Request& request, const NodeRef& parent, Name name,
                        const Removal& removal);
    // False: a copy of the directory was made meanwhile, look again.
    Result<bool> remove_directory(const Request& request, const NodeRef& parent, Name name);
    Result<void> remove_hits(const Request& request, const Node& parent, Name name,
                             const Hits& hits);
    // A descriptor for `node`, null where it keeps another name.
    std::shared_ptr<UniqueFd> hold_last_name(const NodeRef& node, const Hit& shown,
                                             Name name) const;
    Result<bool> is_empty_directory(const Node& node, const Hits& hits) const;
    // The directory no longer stands on the branches of `removed`.
    void forget_directory(const NodeRef& node, const Hits& removed);
    Result<void> find_side(RenameSide& side);
    // False: nothing is to be done.
    Result<bool> check_rename(const RenameSide& from, const RenameSide& to, unsigned flags) const;
    Result<Place> plan_place(RenameSide& side, BranchIndex branch, const std::string& path);
    // Before `hit` of `from` is renamed to the name of `to`, whose place is planned.
    Result<void> take_origin_along(const RenameSide& from, const Hit& hit,
                                   const RenameSide& to) const;
    Result<Plan> plan_rename(RenameSide& from, RenameSide& to, unsigned flags);
    // The parts of a rename that keep layers apart (layered unions only).
    Result<void> copy_up_name(const Request& request, const NodeRef& parent, Name name);
    Result<void> plan_over_whiteout(Plan& plan, const Hit& moved, Place from, Place to) const;
    struct RenamePlan {
        Plan steps;
        unsigned flags;  // of renameat2(2), where it is one step
    };
    Result<void> hide_old_name(RenamePlan& plan, RenameSide& from, const RenameSide& to);
    Result<void> detach_below(const RenameSide& from, const RenameSide& to) const;
    // What leads to the lower parts of `directory`, wherever it is renamed to.
    Result<format::Redirect> redirect_to(const Node& directory) const REQUIRES_SHARED(moves_);
    Result<LowerPlaces> lower_places(const RenameSide& side) const;
    void publish_rename(const RenameSide& from, const RenameSide& to, unsigned flags,
                        std::shared_ptr<UniqueFd> held);
    // Each with the locks of both parents; rename_locked with those of both nodes too, and false
    // where a copy of one of the directories was made meanwhile: look again.
    Result<void> rename_between(const Request& request, RenameSide& from, RenameSide& to,
                                unsigned flags);
    Result<bool> rename_locked(const Request& request, RenameSide& from, RenameSide& to,
                               unsigned flags);
    Result<void> run_rename(const Request& request, const RenamePlan& plan, RenameSide& from,
                            RenameSide& to, unsigned flags);

    void destroyed(const Node& node);

    const BranchSet branches_;
    const UnionOptions options_;
    // There are read-only branches: marks are looked for.
    const bool layered_;
    const bool writable_;
    // A branch keeps its work directory in its root, where it is hidden.
    const bool work_in_root_;
    Listings listings_;
    mutable NodeTable nodes_;  // tells listings_ of what is no more
    mutable DirectoryCache cache_;
    mutable FileSystemTags tags_;
    HandleTable<FileHandle> files_;
    HandleTable<DirectoryHandle> directories_;
    Mutex rename_mutex_;
    mutable SharedMutex moves_;
    CopyUps copy_ups_;
    TurnedAway turned_away_;
    mutable CopyUpCounters copy_up_counters_;
};

}  // namespace plyfs
