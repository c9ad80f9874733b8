//! Types: those that come with PostgreSQL, and the others, whose input and casts are somebody's code.

use sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectName};

use super::names::{folded, parts};
use super::walk::{NotUnderstood, Understood, Walk};

/// Built-in types that the parser has no word for.
const BUILT_IN: &str = "\
    aclitem bool bpchar char cid cidr datemultirange daterange float4 float8 inet int2vector \
    int4multirange int4range int8 int8multirange int8range jsonpath macaddr macaddr8 money name \
    nummultirange numrange oid oidvector pg_lsn pg_snapshot record refcursor regclass \
    regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure \
    regrole regtype text tid timestamptz timetz tsmultirange tsquery tsrange tstzmultirange \
    tstzrange tsvector txid_snapshot unknown uuid varbit varchar void xid xid8 xml";

impl<'a> Walk<'a> {
    /// Records a type that a value is cast to.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: whatever is not on it is refused"
    )]
    pub(crate) fn data_type(&mut self, data_type: &'a DataType) -> Understood {
        let mut data_type = data_type;
        while let DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Qualified(element, _),
        ) = data_type
        {
            data_type = element;
        }
        match data_type {
            DataType::Custom(name, _modifiers) => self.custom_type(name),
            DataType::Character(_)
            | DataType::Char(_)
            | DataType::CharacterVarying(_)
            | DataType::CharVarying(_)
            | DataType::Varchar(_)
            | DataType::Text
            | DataType::Bytea
            | DataType::Bit(_)
            | DataType::BitVarying(_)
            | DataType::VarBit(_)
            | DataType::Uuid
            | DataType::JSON
            | DataType::JSONB
            | DataType::Numeric(_)
            | DataType::Decimal(_)
            | DataType::Dec(_)
            | DataType::Float(_)
            | DataType::Float4
            | DataType::Float8
            | DataType::Real
            | DataType::DoublePrecision
            | DataType::Int2(_)
            | DataType::Int4(_)
            | DataType::Int8(_)
            | DataType::SmallInt(_)
            | DataType::Int(_)
            | DataType::Integer(_)
            | DataType::BigInt(_)
            | DataType::Bool
            | DataType::Boolean
            | DataType::Date
            | DataType::Time(..)
            | DataType::Timestamp(..)
            | DataType::Interval { .. }
            | DataType::Regclass
            | DataType::GeometricType(_)
            | DataType::TsVector
            | DataType::TsQuery => Ok(()),
            _ => Err(NotUnderstood),
        }
    }

    fn custom_type(&mut self, name: &ObjectName) -> Understood {
        let parts = parts(name)?;
        self.qualified(&parts)?;
        let built_in = match parts.as_slice() {
            [name] => BUILT_IN.split(' ').any(|built_in| built_in == folded(name)),
            [schema, _] => folded(schema) == "pg_catalog",
            _ => false,
        };
        self.exotic |= !built_in;
        Ok(())
    }
}
