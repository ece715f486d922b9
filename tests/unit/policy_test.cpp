// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/policy.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <random>
#include <set>
#include <vector>

namespace plyfs {
namespace {

using config::BranchMode;
using config::Function;
using config::Policy;
using Facts = std::vector<BranchFacts>;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::array kPolicies{Policy::All,    Policy::EpAll, Policy::EpFf, Policy::EpMfs,
                               Policy::EpRand, Policy::Ff,    Policy::Lfs,  Policy::Mfs,
                               Policy::Newest, Policy::Pfrd,  Policy::Rand};

class SeededSource final : public RandomSource {
public:
    explicit SeededSource(std::uint64_t seed = 1) : engine_(seed) {}
    result_type operator()() override { return engine_(); }

private:
    std::mt19937_64 engine_;
};

// A branch that every filter lets through.
BranchFacts branch(std::size_t index, std::uint64_t available_gib = 100,
                   std::int64_t modified = 0) {
    BranchFacts facts;
    facts.branch = index;
    facts.exists = true;
    facts.available = available_gib * kGiB;
    facts.min_free_space = 4 * kGiB;
    facts.modification_time.seconds = modified;
    return facts;
}

BranchFacts without_path(BranchFacts facts) {
    facts.exists = false;
    return facts;
}

BranchFacts with_mode(BranchFacts facts, BranchMode mode) {
    facts.mode = mode;
    return facts;
}

BranchFacts on_read_only_file_system(BranchFacts facts) {
    facts.file_system_read_only = true;
    return facts;
}

struct Choice {
    int error = 0;
    BranchList targets;
    BranchList fallbacks;
    bool operator==(const Choice&) const = default;
};

Choice create(Policy policy, const Facts& facts, Function function = Function::Mkdir) {
    SeededSource random;
    const auto choice = choose_create(policy, function, facts, random);
    if (!choice) return {choice.error().code(), {}, {}};
    return {0, choice->targets, choice->fallbacks};
}

Choice action(Policy policy, const Facts& facts) {
    SeededSource random;
    const auto choice = choose_action(policy, facts, random);
    if (!choice) return {choice.error().code(), {}, {}};
    return {0, *choice, {}};
}

Choice search(Policy policy, const Facts& facts) {
    SeededSource random;
    const auto choice = choose_search(policy, facts, random);
    if (!choice) return {choice.error().code(), {}, {}};
    return {0, *choice, {}};
}

struct Row {
    Policy policy;
    BranchList expected;
};

bool path_preserving(Policy policy) {
    return policy == Policy::EpAll || policy == Policy::EpFf || policy == Policy::EpMfs ||
           policy == Policy::EpRand || policy == Policy::Newest;
}

bool on_all(Policy policy) {
    return policy == Policy::All || policy == Policy::EpAll;
}

}  // namespace

TEST_CASE("create ranks the branches by the policy", "[policy]") {
    // Branch 3 has the most space and the youngest directory of its name would be nowhere.
    const Facts facts{branch(0, 50, 10), branch(1, 200, 30), branch(2, 10, 20),
                      without_path(branch(3, 900, 99))};
    const Row rows[] = {
        {Policy::Ff, {0, 1, 2, 3}},  {Policy::EpFf, {0, 1, 2}},   {Policy::Mfs, {3, 1, 0, 2}},
        {Policy::EpMfs, {1, 0, 2}},  {Policy::Lfs, {2, 0, 1, 3}}, {Policy::Newest, {1, 2, 0}},
        {Policy::All, {0, 1, 2, 3}}, {Policy::EpAll, {0, 1, 2}},
    };
    for (const Row& row : rows) {
        CAPTURE(static_cast<int>(row.policy));
        Choice expected{0, {row.expected.front()}, {row.expected.begin() + 1, row.expected.end()}};
        CHECK(create(row.policy, facts, Function::Create) == expected);
        if (on_all(row.policy)) expected = {0, row.expected, {}};
        CHECK(create(row.policy, facts, Function::Mkdir) == expected);
        CHECK(create(row.policy, facts, Function::Mknod) == expected);
        CHECK(create(row.policy, facts, Function::Symlink) == expected);
    }
}

TEST_CASE("branches that rank alike stay in order of precedence", "[policy]") {
    const Facts facts{branch(4), branch(2), branch(7), branch(0)};
    for (const Policy policy :
         {Policy::Ff, Policy::Mfs, Policy::EpMfs, Policy::Lfs, Policy::Newest}) {
        CAPTURE(static_cast<int>(policy));
        CHECK(create(policy, facts) == Choice{0, {4}, {2, 7, 0}});
        CHECK(search(policy, facts) == Choice{0, {4, 2, 7, 0}, {}});
        CHECK(action(policy, facts) == Choice{0, {4}, {}});
    }
}

TEST_CASE("newest compares nanoseconds", "[policy]") {
    Facts facts{branch(0, 9, 5), branch(1, 9, 5)};
    facts[1].modification_time.nanoseconds = 1;
    CHECK(search(Policy::Newest, facts) == Choice{0, {1, 0}, {}});
    facts[0].modification_time = {-5, 0};  // before 1970
    facts[1].modification_time = {-6, 999'999'999};
    CHECK(search(Policy::Newest, facts) == Choice{0, {0, 1}, {}});
}

TEST_CASE("create never chooses a branch that a filter drops", "[policy]") {
    const Facts facts{with_mode(branch(0, 900), BranchMode::ReadOnly),
                      with_mode(branch(1, 900), BranchMode::NoCreate),
                      on_read_only_file_system(branch(2, 900)), branch(3, 3), branch(4, 5)};
    for (const Policy policy : kPolicies) {
        CAPTURE(static_cast<int>(policy));
        CHECK(create(policy, facts) == Choice{0, {4}, {}});
    }
}

TEST_CASE("a branch with exactly its minimum free space is eligible", "[policy]") {
    Facts facts{branch(0, 4)};
    CHECK(create(Policy::Ff, facts) == Choice{0, {0}, {}});
    --facts[0].available;
    CHECK(create(Policy::Ff, facts) == Choice{ENOSPC, {}, {}});
    facts[0].available = 0;
    facts[0].min_free_space = 0;
    for (const Policy policy : kPolicies) {
        CAPTURE(static_cast<int>(policy));
        CHECK(create(policy, facts) == Choice{0, {0}, {}});
    }
}

TEST_CASE("create without an eligible branch says why", "[policy]") {
    const BranchFacts read_only = with_mode(branch(0), BranchMode::ReadOnly);
    const BranchFacts no_create = with_mode(branch(1), BranchMode::NoCreate);
    const BranchFacts read_only_mount = on_read_only_file_system(branch(2));
    const BranchFacts full = branch(3, 1);
    const BranchFacts roomy_elsewhere = without_path(branch(4));
    for (const Policy policy : kPolicies) {
        CAPTURE(static_cast<int>(policy));
        const auto error = [&](const Facts& facts) { return create(policy, facts).error; };
        CHECK(error({}) == ENOENT);
        CHECK(error({read_only}) == EROFS);
        CHECK(error({read_only, no_create, read_only_mount}) == EROFS);
        CHECK(error({full}) == ENOSPC);
        CHECK(error({full, read_only}) == ENOSPC);
        CHECK(error({read_only, full}) == ENOSPC);
        // Path preserving policies don't fall back to a branch that lacks the parent.
        const bool preserving = path_preserving(policy);
        CHECK(error({roomy_elsewhere}) == (preserving ? ENOENT : 0));
        CHECK(error({full, roomy_elsewhere}) == (preserving ? ENOSPC : 0));
        CHECK(error({read_only, roomy_elsewhere}) == (preserving ? EROFS : 0));
        CHECK(error({without_path(full)}) == (preserving ? ENOENT : ENOSPC));
        CHECK(error({without_path(read_only)}) == (preserving ? ENOENT : EROFS));
    }
}

TEST_CASE("action changes the copies that may change", "[policy]") {
    // A full branch and a no-create one take changes; where the object is not, nothing happens.
    const Facts facts{without_path(branch(0, 900, 99)),
                      branch(1, 1, 10),
                      with_mode(branch(2, 70, 30), BranchMode::NoCreate),
                      with_mode(branch(3, 800, 90), BranchMode::ReadOnly),
                      on_read_only_file_system(branch(4, 800, 90)),
                      branch(5, 60, 20)};
    const Row rows[] = {
        {Policy::All, {1, 2, 5}}, {Policy::EpAll, {1, 2, 5}}, {Policy::Ff, {1}},
        {Policy::EpFf, {1}},      {Policy::Mfs, {2}},         {Policy::EpMfs, {2}},
        {Policy::Lfs, {1}},       {Policy::Newest, {2}},
    };
    for (const Row& row : rows) {
        CAPTURE(static_cast<int>(row.policy));
        CHECK(action(row.policy, facts) == Choice{0, row.expected, {}});
    }
    for (const Policy policy : {Policy::Rand, Policy::EpRand, Policy::Pfrd}) {
        CAPTURE(static_cast<int>(policy));
        std::set<std::size_t> seen;
        SeededSource random;
        for (int round = 0; round < 2000; ++round) {
            const auto chosen = choose_action(policy, facts, random);
            REQUIRE(chosen.has_value());
            REQUIRE(chosen->size() == 1);
            seen.insert(chosen->front());
        }
        CHECK(seen == std::set<std::size_t>{1, 2, 5});
    }
}

TEST_CASE("action on an object that is nowhere or only read-only fails", "[policy]") {
    const BranchFacts read_only = with_mode(branch(0), BranchMode::ReadOnly);
    for (const Policy policy : kPolicies) {
        CAPTURE(static_cast<int>(policy));
        const auto error = [&](const Facts& facts) { return action(policy, facts).error; };
        CHECK(error({}) == ENOENT);
        CHECK(error({without_path(branch(0)), without_path(read_only)}) == ENOENT);
        CHECK(error({without_path(branch(1)), read_only}) == EROFS);
        CHECK(error({on_read_only_file_system(branch(1))}) == EROFS);
    }
}

TEST_CASE("search filters nothing and orders all that have the object", "[policy]") {
    const Facts facts{without_path(branch(0, 900, 99)), branch(1, 1, 10),
                      with_mode(branch(2, 70, 30), BranchMode::NoCreate),
                      with_mode(branch(3, 800, 20), BranchMode::ReadOnly),
                      on_read_only_file_system(branch(4, 60, 40))};
    const Row rows[] = {
        {Policy::Ff, {1, 2, 3, 4}},  {Policy::EpFf, {1, 2, 3, 4}},
        {Policy::All, {1, 2, 3, 4}}, {Policy::EpAll, {1, 2, 3, 4}},
        {Policy::Mfs, {3, 2, 4, 1}}, {Policy::EpMfs, {3, 2, 4, 1}},
        {Policy::Lfs, {1, 4, 2, 3}}, {Policy::Newest, {4, 2, 3, 1}},
    };
    for (const Row& row : rows) {
        CAPTURE(static_cast<int>(row.policy));
        CHECK(search(row.policy, facts) == Choice{0, row.expected, {}});
    }
    for (const Policy policy : kPolicies) {
        CAPTURE(static_cast<int>(policy));
        const Choice found = search(policy, facts);
        CHECK(std::set(found.targets.begin(), found.targets.end()) ==
              std::set<std::size_t>{1, 2, 3, 4});
        CHECK(search(policy, {without_path(branch(0))}).error == ENOENT);
        CHECK(search(policy, {}).error == ENOENT);
    }
}

TEST_CASE("rand gives every branch the same chance at every place", "[policy]") {
    const Facts facts{branch(0, 1000), branch(1, 10), branch(2, 100), branch(3, 5)};
    constexpr int kRounds = 40'000;
    for (const Policy policy : {Policy::Rand, Policy::EpRand}) {
        CAPTURE(static_cast<int>(policy));
        SeededSource random(7);
        int count[4][4] = {};  // [place][branch]
        for (int round = 0; round < kRounds; ++round) {
            const auto choice = choose_create(policy, Function::Create, facts, random);
            REQUIRE(choice.has_value());
            REQUIRE(choice->targets.size() == 1);
            REQUIRE(choice->fallbacks.size() == 3);
            ++count[0][choice->targets[0]];
            for (std::size_t place = 0; place < 3; ++place) {
                ++count[place + 1][choice->fallbacks[place]];
            }
        }
        for (const auto& place : count) {
            for (const int hits : place) {
                // Standard deviation: 87.
                CHECK(hits > kRounds / 4 - 500);
                CHECK(hits < kRounds / 4 + 500);
            }
        }
    }
}

TEST_CASE("pfrd chooses in proportion to the available space", "[policy]") {
    // 5 : 3 : 2, and two that are never chosen: read-only, and below the minimum.
    const Facts facts{branch(0, 500), with_mode(branch(1, 5000), BranchMode::ReadOnly),
                      branch(2, 300), without_path(branch(3, 200)), branch(4, 3)};
    constexpr int kRounds = 100'000;
    SeededSource random(11);
    int first[5] = {};
    int second_after_0[5] = {};
    for (int round = 0; round < kRounds; ++round) {
        const auto choice = choose_create(Policy::Pfrd, Function::Create, facts, random);
        REQUIRE(choice.has_value());
        REQUIRE(choice->fallbacks.size() == 2);
        ++first[choice->targets[0]];
        if (choice->targets[0] == 0) ++second_after_0[choice->fallbacks[0]];
    }
    const auto near = [](int hits, int of, int percent) {
        const int expected = of / 100 * percent;
        return hits > expected - of / 100 && hits < expected + of / 100;
    };
    CHECK(near(first[0], kRounds, 50));
    CHECK(near(first[2], kRounds, 30));
    CHECK(near(first[3], kRounds, 20));
    CHECK(first[1] + first[4] == 0);
    CHECK(near(second_after_0[2], first[0], 60));
    CHECK(near(second_after_0[3], first[0], 40));
}

TEST_CASE("pfrd copes with extreme sizes", "[policy]") {
    SeededSource random;
    Facts facts{branch(0), branch(1), branch(2)};
    for (BranchFacts& one : facts) one.min_free_space = 0;

    SECTION("no branch has a byte: order of precedence") {
        for (BranchFacts& one : facts) one.available = 0;
        CHECK(create(Policy::Pfrd, facts) == Choice{0, {0}, {1, 2}});
    }
    SECTION("an empty one is the last resort") {
        facts[0].available = 0;
        for (int round = 0; round < 100; ++round) {
            const auto choice = choose_create(Policy::Pfrd, Function::Create, facts, random);
            REQUIRE(choice.has_value());
            CHECK(choice->fallbacks.back() == 0);
        }
    }
    SECTION("sums beyond 64 bits of bytes") {
        for (BranchFacts& one : facts) one.available = ~std::uint64_t{0};
        std::set<std::size_t> seen;
        for (int round = 0; round < 100; ++round) {
            const auto choice = choose_create(Policy::Pfrd, Function::Create, facts, random);
            REQUIRE(choice.has_value());
            seen.insert(choice->targets.front());
        }
        CHECK(seen.size() == 3);
    }
}

TEST_CASE("every one of many branches is ranked once", "[policy]") {
    Facts facts;
    for (std::size_t index = 0; index < 100; ++index) facts.push_back(branch(index, 10 + index));
    for (const Policy policy : kPolicies) {
        CAPTURE(static_cast<int>(policy));
        const Choice choice = create(policy, facts);
        CHECK(choice.targets.size() + choice.fallbacks.size() == 100);
        std::set<std::size_t> seen(choice.targets.begin(), choice.targets.end());
        seen.insert(choice.fallbacks.begin(), choice.fallbacks.end());
        CHECK(seen.size() == 100);
    }
    CHECK(create(Policy::Mfs, facts).targets == BranchList{99});
}

TEST_CASE("a function's own policy comes before its category's", "[policy]") {
    config::PolicyOptions options;
    options.create = Policy::Mfs;
    options.search = Policy::Newest;
    options.action = Policy::All;
    CHECK(policy_for(options, Function::Create) == Policy::Mfs);
    CHECK(policy_for(options, Function::Symlink) == Policy::Mfs);
    CHECK(policy_for(options, Function::Access) == Policy::Newest);
    CHECK(policy_for(options, Function::Readlink) == Policy::Newest);
    CHECK(policy_for(options, Function::Chmod) == Policy::All);
    CHECK(policy_for(options, Function::Utimens) == Policy::All);
    options.functions[Function::Mkdir] = Policy::EpAll;
    options.functions[Function::Rename] = Policy::Ff;
    CHECK(policy_for(options, Function::Mkdir) == Policy::EpAll);
    CHECK(policy_for(options, Function::Mknod) == Policy::Mfs);
    CHECK(policy_for(options, Function::Rename) == Policy::Ff);
}

TEST_CASE("each thread has a random source of its own", "[policy]") {
    RandomSource& random = thread_random_source();
    CHECK(&random == &thread_random_source());
    CHECK(random() != random());
}

}  // namespace plyfs
