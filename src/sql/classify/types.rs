//! Types: those that come with PostgreSQL, and the others, whose input and casts are somebody's code.

use sqlparser::ast::DataType::{
    self, BigInt, Bit, BitVarying, Bool, Boolean, Bytea, Char, CharVarying, Character,
    CharacterVarying, Date, Dec, Decimal, DoublePrecision, Float, Float4, Float8, GeometricType,
    Int, Int2, Int4, Int8, Integer, JSON, JSONB, Numeric, Real, Regclass, SmallInt, Text, TsQuery,
    TsVector, Uuid, VarBit, Varchar,
};
use sqlparser::ast::{ArrayElemTypeDef, ObjectName};

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
            Character(_) | Char(_) | CharacterVarying(_) | CharVarying(_) | Varchar(_) | Text
            | Bytea | Bit(_) | BitVarying(_) | VarBit(_) | Uuid | JSON | JSONB | Numeric(_)
            | Decimal(_) | Dec(_) | Float(_) | Float4 | Float8 | Real | DoublePrecision
            | Int2(_) | Int4(_) | Int8(_) | SmallInt(_) | Int(_) | Integer(_) | BigInt(_)
            | Bool | Boolean | Date | Regclass | GeometricType(_) | TsVector | TsQuery => Ok(()),
            DataType::Time(..) | DataType::Timestamp(..) | DataType::Interval { .. } => Ok(()),
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
