//! DataFusion's optimiser rules, without what makes wrong rows of them.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, NullEquality, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator, binary_expr, lit};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::sync::Arc;

/// - EliminateCrossJoin makes one list of the keys of joins below each other, and joins by all of them as the topmost
///   compared NULLs; ExtractEquijoinPredicate adds keys to those of a join whatever that does. They may only see joins
///   whose NULLs equal nothing ([`NullKeysAsFilter`]).
/// - PushDownFilter finds `0 = x` again as `x = 0`, and takes `x = 0 AND 0 = x` for false ([`ConstantsRight`]).
/// - SingleDistinctToGroupBy changes the type of a `sum` beside `count(DISTINCT x)`: left out.
/// - What makes joins of subqueries asks them for their column, which a query that was found to be empty no longer tells
///   ([`EmptyMembership`]).
pub(super) fn logical_rules() -> Result<Vec<Arc<dyn OptimizerRule + Send + Sync>>> {
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| rule.name() != "single_distinct_aggregation_to_group_by");
    insert_before("eliminate_cross_join", Arc::new(NullKeysAsFilter), &mut rules)?;
    // Outer joins may have become inner ones, and conditions are about to be added to them.
    insert_before("push_down_filter", Arc::new(NullKeysAsFilter), &mut rules)?;
    insert_before("push_down_filter", Arc::new(ConstantsRight), &mut rules)?;
    insert_before("decorrelate_predicate_subquery", Arc::new(EmptyMembership), &mut rules)?;
    rules.push(Arc::new(ExtractEquijoinPredicate::new()));
    Ok(rules)
}

fn insert_before(
    name: &str,
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    rules: &mut Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Result<()> {
    let place = rules.iter().position(|rule| rule.name() == name);
    let place = place.ok_or_else(|| DataFusionError::Internal(format!("there is no optimiser rule {name}")))?;
    rules.insert(place, rule);
    Ok(())
}

/// - Without those that push filters of a physical plan down: below a projection they look columns up by name, and take
///   a column of the other side of a join that is called the same. The filters of the logical plan have been pushed down
///   before, into the scans.
/// - ProjectionPushdown moves a projection below a filter as if the filter had none of its own, which an earlier
///   ProjectionPushdown may have given it: positions are then those of other columns. So it finds them apart
///   ([`FilterProjectionsApart`]).
pub(super) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = Vec::new();
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            name if name.starts_with("FilterPushdown") => continue,
            "ProjectionPushdown" => rules.push(Arc::new(FilterProjectionsApart)),
            _ => {}
        }
        rules.push(rule);
    }
    rules
}

/// Inner joins whose NULL keys equal each other get their keys back as IS NOT DISTINCT FROM in the filter.
/// [`ExtractEquijoinPredicate`] makes keys of them.
#[derive(Debug)]
struct NullKeysAsFilter;

impl OptimizerRule for NullKeysAsFilter {
    fn name(&self) -> &str {
        "null_keys_as_filter"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if has_equal_nulls(&join) => {
                Ok(Transformed::yes(LogicalPlan::Join(filtered(join))))
            }
            plan => Ok(Transformed::no(plan)),
        }
    }
}

fn has_equal_nulls(join: &Join) -> bool {
    join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNull
}

fn filtered(join: Join) -> Join {
    let same = |(left, right): (Expr, Expr)| binary_expr(left, Operator::IsNotDistinctFrom, right);
    let filter = conjunction(join.on.into_iter().map(same).chain(join.filter));
    Join { on: Vec::new(), filter, null_equality: NullEquality::NullEqualsNothing, ..join }
}

/// `0 = x` in the filter of a join becomes `x = 0`, as it is everywhere else.
#[derive(Debug)]
struct ConstantsRight;

impl OptimizerRule for ConstantsRight {
    fn name(&self) -> &str {
        "constants_right"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(Join { filter: Some(filter), .. }) = &plan else { return Ok(Transformed::no(plan)) };
        let turned = filter.clone().transform_up(|expr| Ok(constant_right(expr)))?;
        match plan {
            LogicalPlan::Join(join) if turned.transformed => {
                Ok(Transformed::yes(LogicalPlan::Join(Join { filter: Some(turned.data), ..join })))
            }
            plan => Ok(Transformed::no(plan)),
        }
    }
}

fn constant_right(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if left.column_refs().is_empty() && !right.column_refs().is_empty() =>
        {
            match op.swap() {
                Some(swapped) => Transformed::yes(binary_expr(*right, swapped, *left)),
                None => Transformed::no(binary_expr(*left, op, *right)),
            }
        }
        expr => Transformed::no(expr),
    }
}

/// `x IN (nothing)` is false, and NOT IN true, also for NULL.
#[derive(Debug)]
struct EmptyMembership;

impl OptimizerRule for EmptyMembership {
    fn name(&self) -> &str {
        "empty_membership"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(without_empty)?.update_data(|expr| name.restore(expr)))
        })
    }
}

fn without_empty(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InSubquery(membership) if is_empty(&membership.subquery.subquery) => {
            Ok(Transformed::yes(lit(membership.negated)))
        }
        expr => Ok(Transformed::no(expr)),
    }
}

fn is_empty(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
}

/// A filter that also projects becomes a filter, and a projection above it.
#[derive(Debug)]
struct FilterProjectionsApart;

impl PhysicalOptimizerRule for FilterProjectionsApart {
    fn name(&self) -> &str {
        "FilterProjectionsApart"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(apart)?.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn apart(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
    let Some(projection) = filter.projection() else { return Ok(Transformed::no(plan)) };
    let all = FilterExecBuilder::from(filter).apply_projection(None)?.build()?;
    let schema = all.schema();
    let column = |at: &usize| {
        let name = schema.field(*at).name();
        ProjectionExpr { expr: Arc::new(Column::new(name, *at)), alias: name.clone() }
    };
    let exprs: Vec<ProjectionExpr> = projection.iter().map(column).collect();
    Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(exprs, Arc::new(all))?)))
}
